package oomreport

import "strings"

// parseSummary reads the oom-kill: line into the report. Paths and names may
// hold commas and equal signs, so the line is taken apart from its end. Of a
// line that is cut, only what is certainly whole is kept.
func parseSummary(r *Report, s string) {
	rest := strings.TrimPrefix(s, "oom-kill:")
	field := func(key string) string {
		_, v, _ := strings.Cut(rest, key)
		v, _, _ = strings.Cut(v, ",")
		return v
	}
	r.Constraint = Constraint(field("constraint="))
	r.Nodemask, r.Cpuset = field("nodemask="), field(",cpuset=")
	if _, v, ok := strings.Cut(rest, ",mems_allowed="); ok {
		// A list of nodes has commas of its own: 0-1,4.
		end := strings.IndexFunc(v, func(c rune) bool { return !strings.ContainsRune("0123456789-,", c) })
		if end < 0 {
			end = len(v)
		}
		r.MemsAllowed = strings.TrimRight(v[:end], ",")
	}
	if _, v, ok := strings.Cut(rest, ",oom_memcg="); ok {
		if path, _, whole := strings.Cut(v, ",task_memcg="); whole {
			r.Domain = path
		}
	} else if strings.Contains(rest, ",global_oom") {
		r.Global = true
	}
	r.Victim = parseVictim(rest)
}

// parseVictim reads "task_memcg=/a,task=stress,pid=1122,uid=0", nil where that
// is cut. 4.19 and 5.0 can lack task_memcg.
func parseVictim(s string) *Victim {
	i := strings.LastIndex(s, ",uid=")
	j := strings.LastIndex(s[:max(i, 0)], ",pid=")
	if j < 0 {
		return nil
	}
	uid, ok1 := number[uint32](s[i:], ",uid=")
	pid, ok2 := number[int](s[j:], ",pid=")
	if !ok1 || !ok2 {
		return nil
	}
	// The name is what follows the first ",task=" that leaves no more than a
	// name can be long.
	const task = ",task="
	for at := max(j-maxName-len(task), 0); at < j; at++ {
		if strings.HasPrefix(s[at:j], task) {
			_, memcg, _ := strings.Cut(s[:at], ",task_memcg=")
			return &Victim{Memcg: memcg, Name: s[at+len(task) : j], PID: pid, UID: &uid}
		}
	}
	return nil
}

// maxName is the length of the longest process name (TASK_COMM_LEN - 1).
const maxName = 15

// parseSelection reads "Kill process 1381 (name) score 1046 or sacrifice child".
func parseSelection(s string) *Victim {
	message, rest, _ := cutMessage(s)
	pid, ok := number[int](rest, "Kill process ")
	name, after, ok2 := cutName(rest, ") score ")
	score, ok3 := number[int](after, "")
	if !ok || !ok2 {
		return nil
	}
	v := &Victim{PID: pid, Name: name, Message: message}
	if ok3 {
		v.Score = &score
	}
	return v
}

// parseKill reads a "Killed process" line of any kernel since 3.10.
func parseKill(s string) *Kill {
	message, rest, _ := cutMessage(s)
	pid, ok := number[int](rest, killedMark)
	// Red Hat's 3.10 has "Killed process 2153, UID 48, (httpd) total-vm:…", and
	// later "Killed process 2153 (httpd), UID 48, total-vm:…".
	name, sizes, ok2 := cutName(rest, ") total-vm:")
	if !ok2 {
		name, sizes, ok2 = cutName(rest, "), UID ")
		_, sizes, _ = strings.Cut(sizes, ", total-vm:")
	}
	if !ok || !ok2 {
		return nil
	}
	sizes = "total-vm:" + sizes
	k := &Kill{Message: message, PID: pid, Name: name, Times: 1}
	var ok3, ok4, ok5 bool
	k.TotalVM, ok3 = kib(sizes, "total-vm:")
	k.AnonRSS, ok4 = kib(sizes, "anon-rss:")
	k.FileRSS, ok5 = kib(sizes, "file-rss:")
	if !ok3 || !ok4 || !ok5 {
		return nil
	}
	if n, ok := kib(sizes, "shmem-rss:"); ok {
		k.ShmemRSS = &n
	}
	if n, ok := kib(sizes, "pgtables:"); ok {
		k.Pgtables = &n
	}
	if n, ok := number[uint32](sizes, "UID:"); ok {
		k.UID = &n
	} else if n, ok := number[uint32](rest[:len(rest)-len(sizes)], ", UID "); ok {
		k.UID = &n
	}
	if n, ok := number[int](sizes, "oom_score_adj:"); ok {
		k.OOMScoreAdj = &n
	}
	return k
}

// parseExiting reads "OOM victim 12 (name) is already exiting".
func parseExiting(s string) (Process, bool) {
	_, rest, _ := cutMessage(s)
	pid, ok := number[int](rest, "OOM victim ")
	name, _, ok2 := cutName(rest, ") is already exiting")
	return Process{pid, name}, ok && ok2
}

// parseReaped reads an "oom_reaper: reaped process" line.
func parseReaped(s string) (Reaped, bool) {
	pid, ok := number[int](s, "reaped process ")
	name, sizes, ok2 := cutName(s, "), now ")
	r := Reaped{Process: Process{pid, name}}
	var ok3, ok4, ok5 bool
	r.AnonRSS, ok3 = kib(sizes, "anon-rss:")
	r.FileRSS, ok4 = kib(sizes, "file-rss:")
	r.ShmemRSS, ok5 = kib(sizes, "shmem-rss:")
	return r, ok && ok2 && ok3 && ok4 && ok5
}

// cutName returns the name in parentheses before the last end, and what
// follows. A name may hold parentheses itself: "((sd-pam)) total-vm:".
func cutName(s, end string) (name, rest string, ok bool) {
	i := strings.Index(s, "(")
	j := strings.LastIndex(s, end)
	if i < 0 || j <= i {
		return "", "", false
	}
	return s[i+1 : j], s[j+len(end):], true
}
