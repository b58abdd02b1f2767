// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// removed stands for a value that is or could be a secret.
const removed = "(removed)"

// secretWords make a parameter whose name holds one of them a secret.
var secretWords = []string{"secret", "password", "passwd", "passphrase", "privatekey", "credential", "token", "assertion", "authenticationcode", "signature"}

// plainTokens are the parameters called a token that grant nothing: names a
// client gives its call, and places in a list.
var plainTokens = []string{"clienttoken", "nexttoken", "paginationtoken", "idempotencytoken", "clientrequesttoken"}

// Parameters are the parameters of a call as a record keeps them: at most
// maxParameters of them, long values cut, and no secret. How many are left out
// is the second result. A secret is what a parameter's name says is one, by
// any word of secretWords, and user data, of which only the size is kept.
//
// names are wire names; get answers the value of one.
func Parameters(names []string, get func(name string) string) (map[string]string, int) {
	if len(names) == 0 {
		return nil, 0
	}
	out := map[string]string{}
	left := 0
	size := 0
	for _, name := range names {
		value := shown(name, get(name))
		key := cut(name, maxField)
		if len(out) == maxParameters || size+len(key)+len(value) > maxValues {
			left++
			continue
		}
		out[key] = value
		size += len(key) + len(value)
	}
	return out, left
}

func shown(name, value string) string {
	lower := strings.ToLower(name)
	// A user data parameter may be a structure: UserData.Value.
	if strings.Contains(lower, "userdata") {
		return fmt.Sprintf("(%d bytes)", len(value))
	}
	pieces := strings.Split(lower, ".")
	for _, p := range pieces {
		if slices.Contains(plainTokens, p) {
			continue
		}
		for _, w := range secretWords {
			if strings.Contains(p, w) {
				return removed
			}
		}
	}
	return cut(value, maxValue)
}

// An id in an answer: AWS's prefix and 17 digits, an ARN, or an id of Route 53.
var idInAnswer = regexp.MustCompile(`\b[a-z][a-z]*(?:-[a-z]+){0,3}-[0-9a-f]{17}\b|/(?:hostedzone|change)/[A-Z0-9]+\b|arn:aws:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:[A-Za-z0-9:/._@+=,-]+`)

// ResourcesIn finds the ids in an answer, each once, in order.
func ResourcesIn(answer []byte) []string {
	var out []string
	for _, m := range idInAnswer.FindAll(answer, -1) {
		id := string(m)
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
		if len(out) == maxResources {
			break
		}
	}
	return out
}
