package evidence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/oomlab/oomlab/internal/oomreport"
)

// Kmsg reads the kernel's log from the moment it was opened.
type Kmsg struct {
	file *os.File
	next uint64 // the sequence number expected next, once one was seen
	lost uint64
}

// OpenKmsg opens /dev/kmsg at its end: only what the kernel logs from now on is
// read. It needs root, or CAP_SYSLOG where dmesg_restrict is set.
func OpenKmsg() (*Kmsg, error) {
	f, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open the kernel log: %w (run as root)", err)
	}
	if _, err := f.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(fmt.Errorf("seek to the end of the kernel log: %w", err), f.Close())
	}
	return &Kmsg{file: f}, nil
}

// Lost returns how many records the kernel overwrote before they were read.
func (k *Kmsg) Lost() uint64 { return k.lost }

// Close ends a Read that waits.
func (k *Kmsg) Close() error { return k.file.Close() }

// Read waits for the next record. After ctx is done, or Close, it returns an
// error. Records that were lost in between are counted by Lost.
func (k *Kmsg) Read(ctx context.Context) (oomreport.Record, error) {
	stop := context.AfterFunc(ctx, func() { _ = k.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var buf [8192]byte // CONSOLE_EXT_LOG_MAX: a read returns one whole record
	for {
		n, err := k.file.Read(buf[:])
		switch {
		case errors.Is(err, syscall.EPIPE):
			continue // overwritten while we read; the sequence number tells how much
		case err != nil && ctx.Err() != nil:
			return oomreport.Record{}, ctx.Err()
		case err != nil:
			return oomreport.Record{}, fmt.Errorf("read the kernel log: %w", err)
		}
		record, ok := oomreport.ParseKmsg(string(buf[:n]))
		if !ok {
			return oomreport.Record{}, fmt.Errorf("read the kernel log: %.60q is no record of /dev/kmsg", buf[:n])
		}
		if k.next != 0 && record.Seq > k.next {
			k.lost += record.Seq - k.next
		}
		k.next = record.Seq + 1
		return record, nil
	}
}
