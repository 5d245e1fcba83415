package kernelimage

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pkg is a package with a kernel in it.
type pkg struct {
	name, version string
}

// imagePackage matches the signed kernels that Debian builds for virtual
// machines, which have what a machine without modules needs built in. From 6.19
// on, linux-image is an empty package and linux-binary has the kernel.
var imagePackage = regexp.MustCompile(`^linux-(image|binary)-(\d+\.\d+\S*)-cloud-amd64$`)

// kernelPackages returns the packages with kernels among names, oldest first,
// one for each version.
func kernelPackages(names []string) []pkg {
	byVersion := map[string]pkg{}
	for _, name := range names {
		m := imagePackage.FindStringSubmatch(name)
		if m == nil || strings.HasPrefix(m[2], "unsigned-") {
			continue
		}
		if _, known := byVersion[m[2]]; !known || m[1] == "binary" {
			byVersion[m[2]] = pkg{name, m[2]}
		}
	}
	var packages []pkg
	for _, p := range byVersion {
		packages = append(packages, p)
	}
	slices.SortFunc(packages, func(a, b pkg) int { return compareVersions(a.version, b.version) })
	return packages
}

// matches reports whether query names the version: the whole of it, or its
// beginning up to where a number or word ends.
func matches(version, query string) bool {
	rest, ok := strings.CutPrefix(version, query)
	return ok && query != "" && (rest == "" || strings.ContainsRune(".+-~", rune(rest[0])))
}

var number = regexp.MustCompile(`\d+`)

// compareVersions orders versions by their numbers, one after the other. Where
// they are the same the text decides, so that the order is total.
func compareVersions(a, b string) int {
	as, bs := number.FindAllString(a, -1), number.FindAllString(b, -1)
	order := slices.CompareFunc(as, bs, func(x, y string) int {
		m, _ := strconv.Atoi(x) // digits only; a number too long for an int has no kernel
		n, _ := strconv.Atoi(y)
		return cmp.Compare(m, n)
	})
	return cmp.Or(order, strings.Compare(a, b))
}

// seriesOf returns the series of versions, each once: "6.12" of "6.12.117+deb13".
func seriesOf(packages []pkg) []string {
	var series []string
	for _, p := range packages {
		parts := strings.SplitN(p.version, ".", 3)
		s := parts[0] + "." + number.FindString(parts[1])
		if !slices.Contains(series, s) {
			series = append(series, s)
		}
	}
	return series
}
