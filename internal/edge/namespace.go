// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/json"
	"strings"

	"postern.dev/postern/internal/policy"
)

// wholeNamespace makes of a policy's document the policy for a request that nobody
// knows: its Allow statements are those that allow a whole service on all
// resources, its Deny statements all that deny any action of the service. One that
// asks for more than where a request comes from, by whom and when is no Allow of the
// whole service, and a Deny without its conditions. The document has been parsed before: it is well-formed.
//
// The request it is for is service:* on "*".
func wholeNamespace(doc, service string, options policy.Options) (*policy.Policy, error) {
	var d struct {
		Version   string            `json:"Version,omitempty"`
		Statement oneOrMore[fields] `json:"Statement"`
	}
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		return nil, err
	}
	kept := []fields{}
	for _, s := range d.Statement {
		var effect string
		if err := json.Unmarshal(s["Effect"], &effect); err != nil {
			return nil, err
		}
		if effect == "Deny" {
			if keep, err := denial(s, service); err != nil {
				return nil, err
			} else if !keep {
				continue
			}
		} else if all, err := allowsAll(s, service); err != nil {
			return nil, err
		} else if !all {
			continue
		}
		kept = append(kept, s)
	}
	if len(kept) == 0 {
		return nil, nil // nothing is allowed
	}
	d.Statement = kept
	out, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return policy.ParseOptions(out, options)
}

// fields is a statement.
type fields map[string]json.RawMessage

// oneOrMore is a list that may be written as its only element.
type oneOrMore[T any] []T

func (l *oneOrMore[T]) UnmarshalJSON(b []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(b)), "[") {
		return json.Unmarshal(b, (*[]T)(l))
	}
	var one T
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*l = []T{one}
	return nil
}

// allowsAll reports whether a statement is about all of a service.
func allowsAll(s fields, service string) (bool, error) {
	has := func(element string, what ...string) (bool, error) {
		var list oneOrMore[string]
		if s[element] == nil {
			return false, nil
		}
		if err := json.Unmarshal(s[element], &list); err != nil {
			return false, err
		}
		for _, v := range list {
			for _, w := range what {
				if strings.EqualFold(v, w) {
					return true, nil
				}
			}
		}
		return false, nil
	}
	actions, err := has("Action", "*", service+":*")
	if err != nil || !actions {
		return false, err
	}
	if more, err := asksMore(s); err != nil || more {
		return false, err
	}
	return has("Resource", "*")
}

// denial widens a Deny statement to the whole service; false if it is about
// others only.
func denial(s fields, service string) (bool, error) {
	if s["NotAction"] == nil {
		var list oneOrMore[string]
		if err := json.Unmarshal(s["Action"], &list); err != nil {
			return false, err
		}
		about := false
		for _, a := range list {
			prefix, _, _ := strings.Cut(strings.ToLower(a), ":")
			about = about || prefix == service || strings.ContainsAny(prefix, "*?")
		}
		if !about {
			return false, nil
		}
	}
	delete(s, "NotAction")
	delete(s, "NotResource")
	s["Action"], s["Resource"] = json.RawMessage(`"*"`), json.RawMessage(`"*"`)
	more, err := asksMore(s)
	if more {
		delete(s, "Condition")
	}
	return true, err
}

// asksMore reports whether a statement has conditions on more than where a request
// comes from, by whom and when.
func asksMore(s fields) (bool, error) {
	var conditions map[string]map[string]json.RawMessage
	if s["Condition"] == nil {
		return false, nil
	}
	if err := json.Unmarshal(s["Condition"], &conditions); err != nil {
		return false, err
	}
	for _, keys := range conditions {
		for k := range keys {
			k = strings.ToLower(k)
			if !strings.HasPrefix(k, "aws:") || strings.HasPrefix(k, "aws:request") && k != "aws:requestedregion" ||
				strings.HasPrefix(k, "aws:resource") || k == "aws:tagkeys" {
				return true, nil
			}
		}
	}
	return false, nil
}
