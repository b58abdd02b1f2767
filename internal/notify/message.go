// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"encoding/json"
	"fmt"

	"postern.dev/postern/internal/control"
)

// message is a delivery ready to be sent.
type message struct {
	control.Delivery
	subject string
	body    string // the delivery as JSON
}

func newMessage(d control.Delivery) (message, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return message{}, fmt.Errorf("encode the message: %w", err)
	}
	return message{Delivery: d, subject: fmt.Sprintf("VPC endpoint %s: %s", d.Endpoint, d.Event), body: string(b)}, nil
}

// envelope is how SNS wraps a message for HTTP endpoints and queues. Webhooks
// and files get the same.
type envelope struct {
	Type      string
	MessageId string // SNS's spelling
	TopicArn  string
	Subject   string
	Message   string
	Timestamp string
}

// timeFormat is that of SNS's timestamps.
const timeFormat = "2006-01-02T15:04:05.000Z"

func (m message) envelope() ([]byte, error) {
	b, err := json.Marshal(envelope{
		Type: "Notification", MessageId: m.MessageID, TopicArn: string(m.Topic), Subject: m.subject,
		Message: m.body, Timestamp: m.Time.UTC().Format(timeFormat),
	})
	if err != nil {
		return nil, fmt.Errorf("encode the message: %w", err)
	}
	return b, nil
}
