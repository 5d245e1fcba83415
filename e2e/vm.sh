#!/usr/bin/env bash
# Runs each of SCENARIOS on each of KERNELS in the vm lab, two machines at a time.
# FLAGS go to oomlab run. artifacts/vm/KERNEL/ gets a record and the story of each
# run. Exit code 0: all passed; 1: some did not; 3: all unsupported.
set -uo pipefail
cd "$(dirname "$0")/.."
export out=artifacts/vm

# one KERNEL SCENARIO: a run, and a line about it.
one() {
	local file=$out/${1//\//-}/$2 began=$SECONDS verdict=
	mkdir -p "${file%/*}"
	# shellcheck disable=SC2086 # FLAGS are words
	bin/oomlab run "$2" --lab vm --kernel "$1" --record "$file.json" $FLAGS >"$file.txt"
	case $? in
	0) verdict=pass ;;
	1) verdict=fail ;;
	3) verdict=$(sed -n '$s/^\(unsupported\|inconclusive\) .*/\1/p' "$file.txt") ;; # "" if it got nowhere
	esac
	printf '%-12s %5ds  %-8s %s\n' "${verdict:-unfinished}" $((SECONDS - began)) "$1" "$2" | tee -a $out/summary.txt
}
export -f one

rm -rf $out && mkdir -p $out && touch $out/summary.txt || exit
planned=0
for scenario in $SCENARIOS; do
	for kernel in $KERNELS; do
		printf '%s %s\n' "$kernel" "$scenario" >>$out/planned
		planned=$((planned + 1))
	done
done
xargs -r -L 1 -P 2 bash -c 'one "$@"' one <$out/planned
rm $out/planned

passed=$(grep -c '^pass ' $out/summary.txt)
unsupported=$(grep -c '^unsupported ' $out/summary.txt)
ran=$((planned - unsupported))
failed=$((ran - passed)) # a run without a line did not pass either
{
	echo "e2e-vm: ran $ran of $planned runs: $passed passed, $failed failed; $unsupported unsupported here"
	echo "$passed passed, $failed failed"
} | tee -a $out/summary.txt
if ((failed > 0)); then exit 1; elif ((ran == 0)); then exit 3; fi
