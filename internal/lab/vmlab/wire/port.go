package wire

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// portDevice is the guest's device for messages.
const portDevice = "/dev/ttyS1"

// Port is the guest's end of the serial port that carries messages.
type Port struct {
	file    *os.File
	encoder *json.Encoder
}

// OpenPort opens the port, and keeps its line discipline from changing what is
// sent.
func OpenPort() (*Port, error) {
	f, err := os.OpenFile(portDevice, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the port for messages: %w", err)
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("set up %s: %w", portDevice, err)
	}
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return nil, fmt.Errorf("set up %s: %w", portDevice, err)
	}
	return &Port{f, json.NewEncoder(f)}, nil
}

// Send sends a message.
func (p *Port) Send(m Message) error {
	if err := p.encoder.Encode(m); err != nil {
		return fmt.Errorf("send a message to the host: %w", err)
	}
	return nil
}

// End sends the last message, and the kernel's log with it.
func (p *Port) End(last Message) error {
	last.Log = kernelLog()
	if err := p.Send(last); err != nil {
		return err
	}
	return p.drain()
}

// kernelLog returns what the kernel has said since it booted, as far as its
// buffer still has it; or why that can't be read.
func kernelLog() string {
	size, err := unix.Klogctl(unix.SYSLOG_ACTION_SIZE_BUFFER, nil)
	if err != nil {
		return fmt.Sprintf("the size of the kernel's log: %v\n", err)
	}
	log := make([]byte, size)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, log)
	if err != nil {
		return fmt.Sprintf("read the kernel's log: %v\n", err)
	}
	return string(log[:n])
}

// drain waits until everything has been sent.
func (p *Port) drain() error {
	if err := unix.IoctlSetInt(int(p.file.Fd()), unix.TCSBRK, 1); err != nil {
		return fmt.Errorf("send the last message to the host: %w", err)
	}
	return nil
}
