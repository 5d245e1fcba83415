// Package oomlab embeds the files of the repository's top level that are edited
// by hand. The program is in cmd/oomlab.
package oomlab

import _ "embed"

// KindConfig is kind-config.yaml, the cluster that scenarios run on.
//
//go:embed kind-config.yaml
var KindConfig []byte
