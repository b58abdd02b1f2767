// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"regexp"
	"time"

	"postern.dev/postern/internal/vpc"
)

// Topics are where connection notifications can go. Which there are, what is
// behind each and who may use it is the operator's configuration: nothing an
// account sends chooses an address.
type Topics interface {
	// Check refuses a topic that the account may not use or that cannot be
	// published to, with a *vpc.Error that the account may read.
	Check(ctx context.Context, account vpc.AccountID, topic vpc.ARN) error
	// Deliver publishes to a topic. A *Refused error says that the topic will
	// take nothing more; after any other error it is worth another attempt.
	// The error's text is for the operator and holds no secret.
	Deliver(ctx context.Context, d Delivery) error
}

// Delivery is one notice as its topic gets it. Its JSON form is the message.
type Delivery struct {
	Topic   vpc.ARN       `json:"-"`
	Account vpc.AccountID `json:"-"` // the notification's owner

	// MessageID is the same whenever the message is delivered again.
	MessageID     string              `json:"messageId"`
	Event         vpc.ConnectionEvent `json:"event"`
	Time          time.Time           `json:"timestamp"` // of the event
	Region        string              `json:"region"`
	Notification  vpc.NotificationID  `json:"connectionNotificationId"`
	Endpoint      vpc.EndpointID      `json:"vpcEndpointId"`
	EndpointOwner vpc.AccountID       `json:"vpcEndpointOwner"`
	// Service is absent for the operator's own services, such as S3.
	Service     vpc.ServiceID `json:"vpcEndpointServiceId,omitempty"`
	ServiceName string        `json:"serviceName"`
	// Sequence counts the events of the endpoint, from 1. Numbers are missing
	// for events the notification does not ask for, and for lost ones.
	Sequence int64 `json:"sequence"`
}

// Refused is the error of a topic that takes nothing more: it is gone, or does
// not let us publish. The notification becomes Disabled.
type Refused struct{ Reason string }

func (e *Refused) Error() string { return e.Reason }

// noTopics is an installation without topics.
type noTopics struct{}

func (noTopics) Check(_ context.Context, account vpc.AccountID, topic vpc.ARN) error {
	return NoSuchTopic(account, topic)
}

func (noTopics) Deliver(context.Context, Delivery) error {
	return vpc.Errorf(vpc.Unavailable, "topic", "", "this server has no topics configured")
}

// NoSuchTopic is the answer to a topic that is not configured for an account.
// One that is configured for others answers the same.
func NoSuchTopic(account vpc.AccountID, topic vpc.ARN) error {
	return badEndpoint("The topic '%.300s' cannot be used by account %s: the operator of this installation has to add its ARN under 'topics' in the configuration of 'postern serve'", topic, account)
}

var topicARN = regexp.MustCompile(`^arn:aws:sns:[a-z0-9-]{1,32}:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$`)

// checkTopicARN refuses what cannot be the ARN of an SNS topic.
func checkTopicARN(arn vpc.ARN) error {
	if !topicARN.MatchString(string(arn)) {
		return badEndpoint("The connection notification ARN '%.300s' is not that of an SNS topic, such as arn:aws:sns:us-east-1:111111111111:name", arn)
	}
	return nil
}
