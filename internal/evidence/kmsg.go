package evidence

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/oomlab/oomlab/internal/oomreport"
)

// Kmsg reads the kernel's log from the moment it was opened. It waits in the
// kernel and not in Go's poller, so that a thread with a priority of its own is
// woken directly.
type Kmsg struct {
	fd   int
	wake int    // an eventfd that ends the wait for a record
	next uint64 // the sequence number expected next, once one was seen
	lost uint64
}

// OpenKmsg opens /dev/kmsg at its end: only what the kernel logs from now on is
// read. It needs root, or CAP_SYSLOG where dmesg_restrict is set.
func OpenKmsg() (*Kmsg, error) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the kernel log /dev/kmsg: %w (run as root)", err)
	}
	k := &Kmsg{fd: fd, wake: -1}
	if _, err := unix.Seek(fd, 0, io.SeekEnd); err != nil {
		return nil, errors.Join(fmt.Errorf("seek to the end of the kernel log: %w", err), k.Close())
	}
	if k.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for the kernel log: %w", err), k.Close())
	}
	return k, nil
}

// Lost returns how many records the kernel overwrote before they were read.
func (k *Kmsg) Lost() uint64 { return k.lost }

// Close ends the reading. Nobody may be in Read any more.
func (k *Kmsg) Close() error {
	err := unix.Close(k.fd)
	if k.wake >= 0 {
		err = errors.Join(err, unix.Close(k.wake))
	}
	return err
}

// Read waits for the next record. After ctx is done it returns an error.
// Records that were lost in between are counted by Lost.
func (k *Kmsg) Read(ctx context.Context) (oomreport.Record, error) {
	record, err := k.read(ctx)
	if err != nil {
		return record, err
	}
	if k.next != 0 && record.Seq > k.next {
		k.lost += record.Seq - k.next
	}
	k.next = record.Seq + 1
	return record, nil
}

// Lose lets records pass unread, as if the kernel had overwritten them, up to
// and including the first one for which last says so.
func (k *Kmsg) Lose(ctx context.Context, last func(oomreport.Record) bool) error {
	for {
		record, err := k.read(ctx)
		if err != nil || last(record) {
			return err
		}
	}
}

func (k *Kmsg) read(ctx context.Context) (oomreport.Record, error) {
	one := []byte{7: 1} // whatever the order of bytes, it is not 0
	stop := context.AfterFunc(ctx, func() { _, _ = unix.Write(k.wake, one) })
	defer stop()
	var buf [8192]byte // CONSOLE_EXT_LOG_MAX: a read returns one whole record
	for {
		n, err := unix.Read(k.fd, buf[:])
		switch err {
		case unix.EPIPE: // overwritten while we read; the sequence number tells how much
			continue
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(k.fd), Events: unix.POLLIN}, {Fd: int32(k.wake), Events: unix.POLLIN}}, -1)
			if err == nil || err == unix.EINTR {
				if ctx.Err() != nil {
					return oomreport.Record{}, ctx.Err()
				}
				continue
			}
		}
		if err != nil {
			return oomreport.Record{}, fmt.Errorf("read the kernel log: %w", err)
		}
		record, ok := oomreport.ParseKmsg(string(buf[:n]))
		if !ok {
			return oomreport.Record{}, fmt.Errorf("read the kernel log: %.60q is no record of /dev/kmsg", buf[:n])
		}
		return record, nil
	}
}
