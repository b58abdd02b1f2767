// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strings"

	"postern.dev/postern/internal/edge/call"
)

// answered is what is to be done with the whole of a backend's answer, nil for
// nothing: a refusal goes into the record.
func (x *exchange) answered(c *call.Call, status int) func(status int, body []byte) {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
	default:
		return c.Answer
	}
	return func(status int, body []byte) {
		x.rec.ServiceError = serviceError(body)
		if c.Answer != nil {
			c.Answer(status, body)
		}
	}
}

// serviceError reads code and message of an error in any of AWS's formats, ""
// if it is none: <Error> by itself or in other elements, or JSON's __type.
func serviceError(body []byte) string {
	var j struct {
		Type    string `json:"__type"`
		Message string `json:"message"` // in any letter case
	}
	if json.Unmarshal(body, &j) == nil {
		if _, name, ok := strings.Cut(j.Type, "#"); ok {
			j.Type = name
		}
		return joined(j.Type, j.Message)
	}
	type problem struct{ Code, Message string }
	var e struct {
		problem
		Error  problem
		Errors struct{ Error problem }
	}
	if xml.Unmarshal(body, &e) != nil {
		return ""
	}
	for _, p := range []problem{e.problem, e.Error, e.Errors.Error} {
		if p.Code != "" {
			return joined(p.Code, p.Message)
		}
	}
	return ""
}

func joined(code, message string) string {
	if code == "" || message == "" {
		return code
	}
	return code + ": " + message
}
