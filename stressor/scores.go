package main

import (
	"errors"
	"os"
	"strings"
)

// printScores prints the two scores of the first process that this pid
// namespace has, as one JSON line: run in a container, next to the balloon, it
// shows what can be read inside of a pod.
func printScores() error {
	adj, err := os.ReadFile("/proc/1/oom_score_adj")
	score, err2 := os.ReadFile("/proc/1/oom_score")
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	_, err = os.Stdout.WriteString(`{"oomScoreAdj":` + strings.TrimSpace(string(adj)) + `,"oomScore":` + strings.TrimSpace(string(score)) + "}\n")
	return err
}
