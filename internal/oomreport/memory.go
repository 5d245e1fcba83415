package oomreport

import (
	"slices"
	"strconv"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
)

// parseCounter reads "memory: usage 65536kB, limit 65536kB, failcnt 85".
func parseCounter(s string) (*Counter, bool) {
	usage, ok1 := kib(s, "usage ")
	limit, ok2 := kib(s, "limit ")
	failcnt, ok3 := number[uint64](s, "failcnt ")
	return &Counter{Usage: usage, Limit: counterLimit(limit), Failcnt: failcnt}, ok1 && ok2 && ok3
}

// counterLimit tells "no limit" from a limit. The kernel prints the largest
// value of its counter: LONG_MAX bytes in whole pages, of 4 KiB to 64 KiB; on
// 32-bit machines LONG_MAX pages; before 3.19 ULLONG_MAX or LLONG_MAX bytes.
func counterLimit(b mem.Bytes) mem.Limit {
	const (
		max64 = (1<<63 - 1<<16)
		max32 = (1<<31 - 1) << 12
	)
	if b >= max64 || b == max32 {
		return mem.Max
	}
	return mem.LimitOf(b)
}

// parseStatsHead reads "Memory cgroup stats for /path:". Before Linux 5.1 the
// statistics follow in the same line: "cache:844KB rss:521136KB".
func parseStatsHead(s string) (path string, stats Stats) {
	words := strings.Fields(strings.TrimPrefix(s, "Memory cgroup stats for "))
	for i := len(words) - 2; i >= 0; i-- { // "rss:44", "8KB": a screen was full
		if isCutStat(words[i], words[i+1]) {
			words = slices.Replace(words, i, i+2, words[i]+words[i+1])
		}
	}
	for i := len(words) - 1; i >= 0; i-- {
		name, amount, ok := strings.Cut(words[i], ":")
		if !ok || !strings.HasSuffix(amount, "KB") {
			path = strings.Join(words[:i+1], " ")
			break
		}
		if n, ok := kib(amount, ""); ok {
			stats = append(stats, Stat{name, int64(n)})
		}
	}
	slices.Reverse(stats)
	return strings.TrimSuffix(path, ":"), stats
}

func isCutStat(word, next string) bool {
	name, digits, ok := strings.Cut(word, ":")
	rest, isEnd := strings.CutSuffix(next, "KB")
	return ok && name != "" && isEnd && (isDigits(digits) || digits == "") && (isDigits(rest) || rest == "") && digits+rest != ""
}

func parseProtection(s string) (*Protection, bool) {
	least, ok := kib(s, "min protection ")
	low, ok2 := kib(s, "low protection ")
	return &Protection{Min: least, Low: low}, ok && ok2
}

// parseStat reads "pgfault 16330".
func parseStat(s string) (Stat, bool) {
	name, rest, ok := strings.Cut(strings.TrimSpace(s), " ")
	n, ok2 := number[int64](rest, "")
	if !ok || !ok2 || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
		return Stat{}, false
	}
	return Stat{name, n}, true
}

// parseMemInfo reads "active_anon:1413442 inactive_anon:1509191".
func parseMemInfo(s string) Stats {
	var stats Stats
	for _, word := range strings.Fields(s) {
		name, text, ok := strings.Cut(word, ":")
		n, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil {
			return nil
		}
		stats = append(stats, Stat{name, n})
	}
	return stats
}

// parseMachine reads one line of show_mem.
func parseMachine(m *Machine, s string) (ok bool) {
	pages := func(to **mem.Pages) {
		if n, whole := number[int64](s, ""); whole {
			*to, ok = new(mem.Pages(n)), true
		}
	}
	amount := func(to **mem.Bytes) {
		_, text, _ := strings.Cut(s, "= ")
		if b, whole := kib(strings.TrimSpace(text), ""); whole {
			*to, ok = &b, true
		}
	}
	switch {
	case strings.HasSuffix(s, " pages RAM"):
		pages(&m.RAM)
	case strings.HasSuffix(s, " pages reserved"):
		pages(&m.Reserved)
	case strings.HasPrefix(s, "Total swap "):
		amount(&m.SwapTotal)
	case strings.HasPrefix(s, "Free swap "):
		amount(&m.SwapFree)
	}
	return ok
}
