// SPDX-License-Identifier: Apache-2.0

package dynamodb

import (
	"encoding/json"
	"net/http"
	"strconv"

	"postern.dev/postern/internal/edge/call"
)

// codes of DynamoDB for those of every protocol, with the prefix they come with.
var codes = map[string]string{
	call.AccessDenied:        "com.amazon.coral.service#AccessDeniedException",
	call.InvalidRequest:      "com.amazon.coral.validate#ValidationException",
	call.TooLarge:            "com.amazon.coral.validate#ValidationException",
	call.SlowDown:            "com.amazonaws.dynamodb.v20120810#ThrottlingException",
	call.ServiceUnavailable:  "com.amazon.coral.service#ServiceUnavailable",
	call.InternalError:       "com.amazonaws.dynamodb.v20120810#InternalServerError",
	"SerializationException": "com.amazon.coral.service#SerializationException",
	"ValidationException":    "com.amazon.coral.validate#ValidationException",
}

// WriteError answers with an error as DynamoDB does.
func WriteError(w http.ResponseWriter, _ *http.Request, e *call.Error, requestID, _ string) {
	kind, ok := codes[e.Code]
	if !ok {
		kind = codes[call.InvalidRequest]
	}
	status := e.Status
	if status < 500 {
		status = http.StatusBadRequest // of every error of a caller's
	}
	body, err := json.Marshal(map[string]string{"__type": kind, "message": e.Message})
	if err != nil {
		body = nil // strings always marshal
	}
	h := w.Header()
	h.Set("Content-Type", "application/x-amz-json-1.0")
	h.Set("X-Amzn-Requestid", requestID)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}
