// Package host says what the machine is and what it lets us do. A requirement
// is probed by doing what it is about, never inferred from a version or a
// distribution's name, and carries what was seen as its proof.
package host
