// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// ServiceOperator is the Service of records that are no call of AWS's API: the
// operator's own calls, machines that ask to become a host, and what the log says about itself.
const ServiceOperator = "postern"

// ActionLinesLost is the action of the record that says how many lines could
// not be kept before it.
const ActionLinesLost = "AuditLinesLost"

// Record is one call, one JSON object on a line. Values a client chose are bounded.
type Record struct {
	Time      time.Time `json:"time"` // when the call began
	RequestID string    `json:"requestId"`
	// Account, AccountName, Principal and AccessKey are whose signature it was;
	// empty when it was not accepted.
	Account     string `json:"account,omitempty"`
	AccountName string `json:"accountName,omitempty"`
	Principal   string `json:"principal,omitempty"` // ARN
	AccessKey   string `json:"accessKey,omitempty"`
	// ClaimedAccessKey is what a refused signature says: anybody may say anything.
	ClaimedAccessKey string `json:"claimedAccessKey,omitempty"`
	// Source is the peer's address and port; for the operator's socket the
	// user and process at its other end.
	Source    string `json:"source"`
	UserAgent string `json:"userAgent,omitempty"`
	Service   string `json:"service"` // signing name: ec2; or ServiceOperator
	Action    string `json:"action,omitempty"`
	Region    string `json:"region,omitempty"`
	// Parameters are those of the call without secrets; see Parameters. A call
	// without a valid signature has none.
	Parameters map[string]string `json:"parameters,omitempty"`
	// ParametersLeftOut counts the parameters that are not in Parameters.
	ParametersLeftOut int `json:"parametersLeftOut,omitempty"`
	// Resources are the ids that a call that writes answered with.
	Resources []string `json:"resources,omitempty"`
	// Write is false for calls that only read.
	Write  bool `json:"write"`
	DryRun bool `json:"dryRun,omitempty"`
	// ErrorCode is "" when the call did what it was asked for.
	ErrorCode    string `json:"errorCode,omitempty"`
	ErrorMessage string `json:"errorMessage,omitempty"`
	Status       int    `json:"status"` // of HTTP
	// DurationMS is how long the answer took, in milliseconds with fractions.
	DurationMS float64 `json:"durationMs"`
	// InvocationID and Attempt are what SDKs say of their retries.
	InvocationID string `json:"invocationId,omitempty"`
	Attempt      string `json:"attempt,omitempty"`
}

// Failed reports whether the call ended in an error. A dry run that would have
// succeeded did not.
func (r *Record) Failed() bool { return r.ErrorCode != "" && r.ErrorCode != "DryRunOperation" }

// Bounds of one record. With every byte escaped a line stays below MaxLine.
const (
	maxField      = 512
	maxMessage    = 1024
	maxParameters = 200
	maxValue      = 4 << 10
	maxValues     = 16 << 10 // of all names and values together
	maxResources  = 64
	// MaxLine is the longest line, with its newline.
	MaxLine = 256 << 10
)

// bound cuts what a client chose.
func (r *Record) bound() {
	for _, f := range []*string{
		&r.RequestID, &r.Account, &r.AccountName, &r.Principal, &r.AccessKey, &r.ClaimedAccessKey, &r.Source, &r.UserAgent,
		&r.Service, &r.Action, &r.Region, &r.ErrorCode, &r.InvocationID, &r.Attempt,
	} {
		*f = cut(*f, maxField)
	}
	r.ErrorMessage = cut(r.ErrorMessage, maxMessage)
	if len(r.Resources) > maxResources {
		r.Resources = r.Resources[:maxResources]
	}
	for i := range r.Resources {
		r.Resources[i] = cut(r.Resources[i], maxField)
	}
}

// line is the record as it is written.
func (r *Record) line() ([]byte, error) {
	r.bound()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("encode an audit record: %w", err)
	}
	return b.Bytes(), nil
}

// cut bounds a string at a rune and says how much is missing.
func cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	n := limit
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return fmt.Sprintf("%s...(%d bytes more)", s[:n], len(s)-n)
}

// IsRead reports whether an action of AWS's API only reads, which its name says.
func IsRead(action string) bool {
	for _, verb := range []string{"Describe", "Get", "List", "Search", "Simulate", "Decode"} {
		if strings.HasPrefix(action, verb) {
			return true
		}
	}
	return false
}
