package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// statusDevice is the name under which the status files' memory is mounted; by it down knows that the mount is ours.
const statusDevice = "kafkalab-status"

// mountStatus puts the status files into memory: they are written twice a second, and none is to be taken for a new one after a reboot. A
// sandbox that runs has given its pods what was there when they started.
func (s *Sandbox) mountStatus() error {
	device, err := mountedAt(s.l.Status)
	if err != nil || device != "" || s.conf.Where != OnMachine || s.running() {
		return err
	}
	options := fmt.Sprintf("size=1m,mode=0755,uid=%[1]d,gid=%[1]d", podUser)
	if err := unix.Mount(statusDevice, s.l.Status, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
		return fmt.Errorf("mount memory on %s: %w", s.l.Status, err)
	}
	return nil
}

// unmount takes away every mount below our own folders, the deepest first, and the status files' memory.
func (s *Sandbox) unmount() error {
	mounts, err := mountsBelow(s.l.Run+"/", s.l.State()+"/", s.l.Status+"/")
	if err != nil {
		return err
	}
	device, err := mountedAt(s.l.Status)
	if err != nil {
		return err
	}
	if device == statusDevice {
		mounts = append(mounts, s.l.Status)
	}
	var errs []error
	for _, m := range mounts {
		if m == s.l.Netns() {
			continue // the network's own
		}
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m, err))
		}
	}
	return errors.Join(errs...)
}

// mountsBelow are the mounts whose place begins with one of these, the deepest first.
func mountsBelow(prefixes ...string) ([]string, error) {
	all, err := mounts()
	var found []string
	for _, m := range all {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(m.point, p) }) {
			found = append(found, m.point)
		}
	}
	sort.Slice(found, func(i, j int) bool { return len(found[i]) > len(found[j]) })
	return found, err
}

// mountedAt is the device of what is mounted at a place, or nothing.
func mountedAt(point string) (device string, err error) {
	all, err := mounts()
	for _, m := range all {
		if m.point == point {
			device = m.device // the last one is on top
		}
	}
	return device, err
}

type mount struct{ point, device string }

// mounts are those of this process' view of the machine.
func mounts() (all []mount, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		before, after, _ := strings.Cut(scanner.Text(), " - ")
		fields, device := strings.Fields(before), strings.Fields(after)
		if len(fields) < 5 || len(device) < 2 {
			continue
		}
		all = append(all, mount{unescape.Replace(fields[4]), unescape.Replace(device[1])})
	}
	return all, scanner.Err()
}
