package report

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/oomlab/oomlab/internal/record"
)

// scores says for each container who wrote which oom_score_adj there, in order.
func (s *Story) scores(r *record.Record) {
	type writes struct {
		adj   int
		by    string
		times int
	}
	var owners []string
	of := map[string][]writes{}
	for _, w := range r.ScoreWrites {
		if w.Owner.Pod == "" {
			continue // the node's own daemons
		}
		owner := w.Owner.String()
		all := of[owner]
		if all == nil {
			owners = append(owners, owner)
		}
		by := cmp.Or(w.By.Name, w.By.String())
		if n := len(all); n > 0 && all[n-1].adj == w.OOMScoreAdj && all[n-1].by == by {
			all[n-1].times++
		} else {
			all = append(all, writes{w.OOMScoreAdj, by, 1})
		}
		of[owner] = all
	}
	for i, owner := range owners {
		if i == 0 {
			s.printf("\n")
		}
		var parts []string
		for _, w := range of[owner] {
			part := fmt.Sprintf("%d by %s", w.adj, w.by)
			if w.times > 1 {
				part += fmt.Sprintf(", %d×", w.times)
			}
			parts = append(parts, part)
		}
		s.printf("  scores   %s: %s\n", owner, strings.Join(parts, "; then "))
	}
}
