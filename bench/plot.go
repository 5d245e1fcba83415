package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/oomlab/oomlab/internal/mem"
)

// plot draws a bar per program, the median speed, with a dot per round.
func plot(m measured) []byte {
	const (
		width, label, row = 860, 330, 28
		bars              = width - label - 90
	)
	var results []*result
	for _, r := range []*result{m.Fill, m.THP} {
		if r != nil {
			results = append(results, r)
		}
	}
	var fastest float64
	rows := 0
	for _, r := range results {
		rows += len(r.Programs) + 1
		for _, speeds := range r.Speeds {
			fastest = max(fastest, slices.Max(speeds))
		}
	}
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	x := func(speed float64) float64 { return label + speed/fastest*bars }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`, width, rows*row+12)
	p(`<rect width="100%%" height="100%%" fill="#fff"/>`)
	y := 0
	for _, r := range results {
		p(`<text x="8" y="%d" font-weight="bold">%s, GiB/s</text>`, y+20, r.Title)
		y += row
		for i, program := range r.Programs {
			colour := "#9aa5b1"
			if i == 0 {
				colour = "#2f6fdb"
			}
			m := median(r.Speeds[i])
			p(`<text x="%d" y="%d" text-anchor="end">%s</text>`, label-8, y+18, strings.ReplaceAll(program.Name, "`", ""))
			p(`<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, label, y+4, x(m)-label, row-9, colour)
			for _, speed := range r.Speeds[i] {
				p(`<circle cx="%.1f" cy="%d" r="2" fill="#000" fill-opacity="0.45"/>`, x(speed), y+13)
			}
			p(`<text x="%.1f" y="%d">%.2f</text>`, x(slices.Max(r.Speeds[i]))+6, y+18, m/float64(mem.GiB))
			y += row
		}
	}
	p(`</svg>`)
	return b.Bytes()
}
