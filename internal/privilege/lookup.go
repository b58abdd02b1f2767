// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privilege

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
)

// Users that exist on every system by number alone, see the package comment.
const (
	ServerUID = 64220
	EdgeUID   = 64221
)

// Lookup is the user and group to drop to: those of the system's user name,
// or fallbackUID for both where there is none of that name. A user 0, or in
// group 0, is refused.
func Lookup(name string, fallbackUID int) (uid, gid int, err error) {
	if fallbackUID <= 0 {
		return 0, 0, fmt.Errorf("user %s: fallback id %d must be above 0", name, fallbackUID)
	}
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		return fallbackUID, fallbackUID, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("look up user %s: %w", name, err)
	}
	if uid, err = strconv.Atoi(u.Uid); err == nil {
		gid, err = strconv.Atoi(u.Gid)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("look up user %s: %w", name, err)
	}
	if uid == 0 || gid == 0 {
		return 0, 0, fmt.Errorf("user %s has user id %d and group id %d: give it an unprivileged user and group", name, uid, gid)
	}
	return uid, gid, nil
}
