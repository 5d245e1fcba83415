// Oomlab predicts which pod dies when a Kubernetes node runs out of memory,
// makes it run out, and proves what happened.
package main

import (
	"os"

	"github.com/oomlab/oomlab/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
