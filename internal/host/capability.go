package host

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"os"
	"strconv"
	"strings"
)

// Capabilities is a set of Linux capabilities, together with what the running
// kernel knows: a capability that it does not know is not missing.
type Capabilities struct {
	set  uint64
	last int // number of the last one that the kernel knows (kernel.cap_last_cap)
}

// capabilityNames are the names of include/uapi/linux/capability.h by number.
var capabilityNames = strings.Fields(`
	CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
	LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK
	IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
	SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
	AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
	BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

func capabilityName(n int) string {
	if n < len(capabilityNames) {
		return "CAP_" + capabilityNames[n]
	}
	return "CAP_" + strconv.Itoa(n)
}

// Has reports whether the set holds a capability, such as "CAP_SYS_RESOURCE".
func (c Capabilities) Has(name string) bool {
	for n := range c.last + 1 {
		if capabilityName(n) == name {
			return c.set&(1<<n) != 0
		}
	}
	return false
}

// Missing returns the names of what the kernel knows and the set lacks.
func (c Capabilities) Missing() []string {
	var names []string
	for n := range c.last + 1 {
		if c.set&(1<<n) == 0 {
			names = append(names, capabilityName(n))
		}
	}
	return names
}

// Summary says in a few words what the set holds: "all 41 capabilities",
// "40 of 41 capabilities, not CAP_SYS_RESOURCE".
func (c Capabilities) Summary() string {
	all, missing := c.last+1, c.Missing()
	switch {
	case len(missing) == 0:
		return fmt.Sprintf("all %d capabilities", all)
	case len(missing) <= 5:
		return fmt.Sprintf("%d of %d capabilities, not %s", all-len(missing), all, strings.Join(missing, ", "))
	}
	return fmt.Sprintf("%d of %d capabilities", all-len(missing), all)
}

// MarshalJSON writes what is there and what is missing, by name.
func (c Capabilities) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Count   int      `json:"count"`
		Missing []string `json:"missing"`
	}{bits.OnesCount64(c.set), append([]string{}, c.Missing()...)})
}

// BoundingSet returns the capabilities that process pid or its children could
// ever have (CapBnd of /proc/PID/status).
func BoundingSet(pid int) (Capabilities, error) { return capabilities(pid, "CapBnd") }

// EffectiveCapabilities returns those that process pid has now (CapEff).
func EffectiveCapabilities(pid int) (Capabilities, error) { return capabilities(pid, "CapEff") }

func capabilities(pid int, field string) (Capabilities, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Capabilities{}, fmt.Errorf("read capabilities of process %d: %w", pid, err)
	}
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return Capabilities{}, fmt.Errorf("read capabilities of the kernel: %w", err)
	}
	return parseCapabilities(string(status), field, string(last))
}

// parseCapabilities reads a hexadecimal mask from /proc/PID/status, and the
// number in kernel.cap_last_cap.
func parseCapabilities(status, field, last string) (Capabilities, error) {
	n, err := strconv.Atoi(strings.TrimSpace(last))
	if err != nil || n < 0 || n > 63 {
		return Capabilities{}, fmt.Errorf("kernel.cap_last_cap %q: want a number of 0 to 63", last)
	}
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil {
				return Capabilities{}, fmt.Errorf("%s of /proc/PID/status: %w", field, err)
			}
			return Capabilities{set: set, last: n}, nil
		}
	}
	return Capabilities{}, fmt.Errorf("/proc/PID/status has no line %s", field)
}

// AllCapabilities is the full set of a kernel whose kernel.cap_last_cap is last.
func AllCapabilities(last int) Capabilities {
	return Capabilities{set: 1<<(last+1) - 1, last: last}
}
