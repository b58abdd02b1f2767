// SPDX-License-Identifier: Apache-2.0

package services

import (
	"cmp"
	"regexp"
	"strings"

	"postern.dev/postern/internal/edge/call"
)

var resourceName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,256}$`)

// SNS is Amazon Simple Notification Service.
var SNS = &Service{
	Namespace: "sns", signing: []string{"sns"}, query: true, maxBody: 1 << 20,
	operations: table(
		all(byARN("", "TopicArn"), `AddPermission ConfirmSubscription DeleteTopic GetTopicAttributes ListSubscriptionsByTopic RemovePermission SetTopicAttributes`),
		all(byARN("", "ResourceArn"), `GetDataProtectionPolicy PutDataProtectionPolicy ListTagsForResource`),
		all(tagged(byARN("", "ResourceArn"), "Tags", "Key", "Value", "TagKeys"), `TagResource UntagResource`),
		all(with(byARN("", "TopicArn"), map[string]string{"sns:Protocol": "Protocol", "sns:Endpoint": "Endpoint"}), `Subscribe`),
		all(byARN("Publish", "TopicArn"), `PublishBatch`),
		all(publish, `Publish`),
		all(tagged(byName("sns", "Name", "Topic Name"), "Tags", "Key", "Value", ""), `CreateTopic`),
		all(everywhere, `CheckIfPhoneNumberIsOptedOut CreatePlatformApplication CreatePlatformEndpoint CreateSMSSandboxPhoneNumber DeleteEndpoint
			DeletePlatformApplication DeleteSMSSandboxPhoneNumber GetEndpointAttributes GetPlatformApplicationAttributes GetSMSAttributes
			GetSMSSandboxAccountStatus GetSubscriptionAttributes ListEndpointsByPlatformApplication ListOriginationNumbers
			ListPhoneNumbersOptedOut ListPlatformApplications ListSMSSandboxPhoneNumbers ListSubscriptions ListTopics OptInPhoneNumber
			SetEndpointAttributes SetPlatformApplicationAttributes SetSMSAttributes SetSubscriptionAttributes Unsubscribe VerifySMSSandboxPhoneNumber`),
	),
}

// publish sends to a topic, an endpoint or a telephone.
func publish(r *reader) *call.Error {
	phone, e := r.values.text("PhoneNumber")
	if e != nil {
		return e
	}
	if phone != "" {
		r.add("Publish", "*")
	}
	return byARN("Publish", "TopicArn", "TargetArn")(r)
}

// byName is an operation that makes something of the caller's own of the name in a
// member, also where another owner is named: it has no such member.
func byName(service, member, bad string) operation {
	return func(r *reader) *call.Error {
		name, e := r.values.text(member)
		if e != nil {
			return e
		}
		if !resourceName.MatchString(name) {
			return invalid("%s", bad)
		}
		r.add(r.name, r.arn(service, name))
		return nil
	}
}

// SQS is Amazon Simple Queue Service, over both of its protocols.
var SQS = &Service{
	Namespace: "sqs", signing: []string{"sqs"}, target: "AmazonSQS", query: true, maxBody: 2 << 20,
	path: func(r *reader, path string) bool {
		r.named = path
		_, ok := r.queueOf(path)
		return ok
	},
	operations: table(
		all(queue(""), `AddPermission ChangeMessageVisibility DeleteMessage DeleteQueue GetQueueAttributes ListDeadLetterSourceQueues ListQueueTags
			PurgeQueue ReceiveMessage RemovePermission SendMessage SetQueueAttributes TagQueue UntagQueue`),
		all(queue("SendMessage"), `SendMessageBatch`),
		all(queue("DeleteMessage"), `DeleteMessageBatch`),
		all(queue("ChangeMessageVisibility"), `ChangeMessageVisibilityBatch`),
		all(byName("sqs", "QueueName", "The name of the queue is not valid."), `CreateQueue`),
		all(namedQueue, `GetQueueUrl`),
		all(everywhere, `ListQueues`),
		all(byARN("", "SourceArn"), `ListMessageMoveTasks`),
		all(moveMessages, `StartMessageMoveTask`),
	),
}

// queueOf is the ARN of the queue that a path /account/name names.
func (r *reader) queueOf(path string) (string, bool) {
	account, name, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if len(account) != 12 || strings.Trim(account, "0123456789") != "" || !resourceName.MatchString(name) {
		return "", false
	}
	return "arn:aws:sqs:" + r.region + ":" + account + ":" + name, true
}

// queue is an operation on the queue of QueueUrl, or of the path.
func queue(action string) operation {
	return func(r *reader) *call.Error {
		action := cmp.Or(action, r.name)
		raw, e := r.values.text("QueueUrl")
		if e != nil {
			return e
		}
		path := raw
		if _, rest, ok := strings.Cut(raw, "://"); ok {
			_, path, _ = strings.Cut(rest, "/")
			path = "/" + path
		}
		switch {
		case raw == "":
			path = r.named
		case r.named != "" && r.named != path:
			return invalid("The path and QueueUrl name two queues.")
		}
		arn, ok := r.queueOf(path)
		if !ok || strings.ContainsAny(path, "%?#") {
			return invalid("The address of the queue is not valid.")
		}
		r.add(action, arn)
		return tagged(func(*reader) *call.Error { return nil }, "Tag", "Key", "Value", "TagKeys")(r)
	}
}

// namedQueue is an operation on a queue by its name.
func namedQueue(r *reader) *call.Error {
	name, e := r.values.text("QueueName")
	if e != nil {
		return e
	}
	owner, e := r.values.text("QueueOwnerAWSAccountId")
	if e != nil {
		return e
	}
	if owner == "" {
		owner = r.account
	}
	if !resourceName.MatchString(name) || strings.Trim(owner, "0123456789") != "" {
		return invalid("The name of the queue is not valid.")
	}
	r.add(r.name, "arn:aws:sqs:"+r.region+":"+owner+":"+name)
	return nil
}

// moveMessages also sends to where the messages go.
func moveMessages(r *reader) *call.Error {
	if e := byARN("", "SourceArn")(r); e != nil {
		return e
	}
	to, e := r.values.text("DestinationArn")
	if e != nil || to == "" {
		return e
	}
	return byARN("SendMessage", "DestinationArn")(r)
}

// STS is AWS Security Token Service.
var STS = &Service{
	Namespace: "sts", signing: []string{"sts"}, query: true, maxBody: 64 << 10,
	operations: table(
		all(assume, `AssumeRole AssumeRoleWithSAML AssumeRoleWithWebIdentity`),
		all(with(byARN("", "TargetPrincipal"), map[string]string{"sts:TaskPolicyArn": "TaskPolicyArn.arn"}), `AssumeRoot`),
		all(everywhere, `DecodeAuthorizationMessage GetAccessKeyInfo GetCallerIdentity GetSessionToken GetWebIdentityToken`),
	),
}

// assume takes on a role; setting tags or a source identity needs its own action.
func assume(r *reader) *call.Error {
	keys := map[string]string{"sts:RoleSessionName": "RoleSessionName", "sts:ExternalId": "ExternalId", "sts:SourceIdentity": "SourceIdentity"}
	if e := with(tagged(byARN("", "RoleArn"), "Tags", "Key", "Value", ""), keys)(r); e != nil {
		return e
	}
	transitive, e := r.values.list("TransitiveTagKeys")
	if e != nil {
		return e
	}
	if len(transitive) > 0 {
		r.Context["sts:TransitiveTagKeys"] = transitive
	}
	if len(r.Context["aws:TagKeys"]) > 0 {
		if e := byARN("TagSession", "RoleArn")(r); e != nil {
			return e
		}
	}
	if len(r.Context["sts:SourceIdentity"]) > 0 {
		return byARN("SetSourceIdentity", "RoleArn")(r)
	}
	return nil
}

// Logs is Amazon CloudWatch Logs.
var Logs = &Service{
	Namespace: "logs", signing: []string{"logs"}, target: "Logs_20140328", maxBody: 2 << 20,
	operations: table(
		all(logGroup(false), `AssociateKmsKey CreateLogGroup DeleteLogGroup DeleteMetricFilter DeleteRetentionPolicy DeleteSubscriptionFilter
			DescribeLogStreams DescribeMetricFilters DescribeSubscriptionFilters DisassociateKmsKey FilterLogEvents GetLogGroupFields
			ListTagsLogGroup PutMetricFilter PutRetentionPolicy PutSubscriptionFilter StartQuery TagLogGroup UntagLogGroup
			DeleteDataProtectionPolicy GetDataProtectionPolicy PutDataProtectionPolicy DeleteTransformer GetTransformer PutTransformer`),
		all(logGroup(true), `CreateLogStream DeleteLogStream GetLogEvents PutLogEvents`),
		all(tagged(byARN("", "resourceArn"), "tags", "key", "value", "tagKeys"), `ListTagsForResource TagResource UntagResource`),
		all(everywhere, `DescribeLogGroups DescribeQueries DescribeResourcePolicies DescribeExportTasks DescribeQueryDefinitions DescribeAccountPolicies
			TestMetricFilter TestTransformer ListLogGroups`),
	),
}

var logGroupName = regexp.MustCompile(`^[a-zA-Z0-9_./#-]{1,512}$`)
var logStreamName = regexp.MustCompile(`^[^:*\x00-\x1f]{1,512}$`)

// logGroup is an operation on log groups, or on a stream of one. AWS judges both as
// a group and, maybe empty, a stream. Where there is none, the name of one means
// nothing.
func logGroup(streams bool) operation {
	return func(r *reader) *call.Error {
		var groups []string
		for _, param := range []string{"logGroupName", "logGroupIdentifier"} {
			v, e := r.values.text(param)
			if e != nil {
				return e
			}
			if v != "" {
				groups = append(groups, v)
			}
		}
		for _, param := range []string{"logGroupNames", "logGroupIdentifiers"} {
			v, e := r.values.list(param)
			if e != nil {
				return e
			}
			groups = append(groups, v...)
		}
		stream := ""
		if streams {
			var e *call.Error
			if stream, e = r.values.text("logStreamName"); e != nil {
				return e
			}
			if stream != "" && !logStreamName.MatchString(stream) {
				return invalid("The name of the log stream is not valid.")
			}
		}
		for _, g := range groups {
			arn := strings.TrimSuffix(g, ":*")
			switch {
			case logGroupName.MatchString(g):
				arn = r.arn("logs", "log-group:"+g)
			case !anyARN.MatchString(arn) || !strings.Contains(arn, ":log-group:"):
				return invalid("The log group is not valid.")
			}
			r.add(r.name, arn+":log-stream:"+stream)
		}
		return nil
	}
}
