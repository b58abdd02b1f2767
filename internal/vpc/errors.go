// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"fmt"
	"reflect"
	"unicode/utf8"
)

// ErrorKind says what went wrong in the domain's words. The API turns a kind,
// together with the resource it concerns, into AWS's code for the action.
type ErrorKind string

// The kinds. Each comment says when it occurs.
const (
	NotFound            ErrorKind = "NotFound"            // no such object, or it belongs to another account
	Malformed           ErrorKind = "Malformed"           // an id that cannot be one
	Missing             ErrorKind = "Missing"             // a required parameter is absent
	Invalid             ErrorKind = "Invalid"             // a value outside what the parameter allows
	Combination         ErrorKind = "Combination"         // parameters that exclude each other
	Unsupported         ErrorKind = "Unsupported"         // known to AWS, not done here; refused by name
	Duplicate           ErrorKind = "Duplicate"           // the same thing exists already
	Conflict            ErrorKind = "Conflict"            // overlaps something that exists (a CIDR, a DNS domain)
	InUse               ErrorKind = "InUse"               // still referenced, cannot be deleted
	OutOfRange          ErrorKind = "OutOfRange"          // a CIDR of a size or place that is not allowed
	Limit               ErrorKind = "Limit"               // a quota is used up
	NoAddress           ErrorKind = "NoAddress"           // a subnet has no free address
	NoCapacity          ErrorKind = "NoCapacity"          // no host could run the instance
	AddressInUse        ErrorKind = "AddressInUse"        // the chosen address is taken
	Reserved            ErrorKind = "Reserved"            // a name that cannot be used
	NotPermitted        ErrorKind = "NotPermitted"        // the object is managed by somebody else or protected
	WrongState          ErrorKind = "WrongState"          // the object's state does not allow this
	TokenMismatch       ErrorKind = "TokenMismatch"       // a client token used again with other parameters
	BadPolicy           ErrorKind = "BadPolicy"           // a policy document that does not parse or validate
	BadFilter           ErrorKind = "BadFilter"           // an unknown filter
	BadToken            ErrorKind = "BadToken"            // a pagination token we did not issue
	DuplicateZone       ErrorKind = "DuplicateZone"       // two subnets of one zone where one is allowed
	ExistingConnections ErrorKind = "ExistingConnections" // a service that endpoints still use
	AlreadyAssociated   ErrorKind = "AlreadyAssociated"   // a subnet that has an explicit association
	AddressMismatch     ErrorKind = "AddressMismatch"     // an address outside the subnet or reserved in it
	DryRun              ErrorKind = "DryRun"              // the request would have succeeded
	Denied              ErrorKind = "Denied"              // the caller may not do this
	Unavailable         ErrorKind = "Unavailable"         // the store or a host did not answer in time; retry
)

// Error is a refusal by the domain. Resource is the kind of object it
// concerns ("subnet", "security-group"; see Kind), or a parameter name for
// Missing, Invalid, Combination and Unsupported.
type Error struct {
	Kind     ErrorKind
	Resource string
	ID       string
	Message  string
}

func (e *Error) Error() string {
	if e.Message != "" {
		return e.Message
	}
	return fmt.Sprintf("%s: %s %q", e.Kind, e.Resource, e.ID)
}

// maxShown is how much of a text a message shows: messages say what was sent,
// and what is sent may be a megabyte.
const maxShown = 256

// Errorf makes an Error with a message. Of a long text among the arguments the
// message shows only the beginning.
func Errorf(kind ErrorKind, resource, id, format string, args ...any) *Error {
	for i, a := range args {
		if v := reflect.ValueOf(a); v.Kind() == reflect.String && v.Len() > maxShown {
			args[i] = shorten(v.String())
		}
	}
	return &Error{Kind: kind, Resource: resource, ID: id, Message: fmt.Sprintf(format, args...)}
}

// shorten cuts a text at a rune.
func shorten(s string) string {
	n := maxShown
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
