// SPDX-License-Identifier: Apache-2.0

package services

import (
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/edge/call"
)

// unlisted are operations of the models that no table has: they need the whole
// service, since their resource is in an opaque handle or is not the caller's to
// name, or because they manage what no backend of ours has.
var unlisted = map[string]string{
	"sns": ``,
	"sqs": `CancelMessageMoveTask`,
	"sts": `GetDelegatedAccessToken GetFederationToken`,
	"logs": `AssociateSourceToS3TableIntegration CancelExportTask CancelImportTask CreateDelivery CreateExportTask CreateImportTask
		CreateLogAnomalyDetector CreateLookupTable CreateScheduledQuery DeleteAccountPolicy DeleteDelivery DeleteDeliveryDestination
		DeleteDeliveryDestinationPolicy DeleteDeliverySource DeleteDestination DeleteIndexPolicy DeleteIntegration DeleteLogAnomalyDetector
		DeleteLookupTable DeleteQueryDefinition DeleteResourcePolicy DeleteScheduledQuery DescribeConfigurationTemplates
		DescribeDeliveries DescribeDeliveryDestinations DescribeDeliverySources DescribeDestinations DescribeFieldIndexes
		DescribeImportTaskBatches DescribeImportTasks DescribeIndexPolicies DescribeLookupTables DisassociateSourceFromS3TableIntegration GetDelivery
		GetDeliveryDestination GetDeliveryDestinationPolicy GetDeliverySource GetIntegration GetLogAnomalyDetector GetLogFields
		GetLogObject GetLogRecord GetLookupTable GetQueryResults GetScheduledQuery GetScheduledQueryHistory ListAggregateLogGroupSummaries
		ListAnomalies ListIntegrations ListLogAnomalyDetectors ListLogGroupsForQuery ListScheduledQueries
		ListSourcesForS3TableIntegration PutAccountPolicy PutBearerTokenAuthentication PutDeliveryDestination PutDeliveryDestinationPolicy
		PutDeliverySource PutDestination PutDestinationPolicy PutIndexPolicy PutIntegration PutLogGroupDeletionProtection
		PutQueryDefinition PutResourcePolicy StartLiveTail StopQuery UpdateAnomaly UpdateDeliveryConfiguration
		UpdateLogAnomalyDetector UpdateLookupTable UpdateScheduledQuery`,
	"ecr": `CreateRepositoryCreationTemplate DeleteRepositoryCreationTemplate DeleteSigningConfiguration DeregisterPullTimeUpdateExclusion
		DescribeImageSigningStatus DescribeRepositoryCreationTemplates GetSigningConfiguration ListImageReferrers ListPullTimeUpdateExclusions
		PutSigningConfiguration RegisterPullTimeUpdateExclusion UpdateImageStorageClass UpdatePullThroughCacheRule
		UpdateRepositoryCreationTemplate`,
}

func TestEveryOperationOfTheModelsIsMappedOrListed(t *testing.T) {
	for name, s := range map[string]*Service{"sns": SNS, "sqs": SQS, "sts": STS, "logs": Logs, "ecr": ECR} {
		model, err := os.ReadFile("testdata/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		operations := strings.Fields(string(model))
		listed := strings.Fields(unlisted[name])
		for _, op := range operations {
			_, mapped := s.operations[op]
			if mapped == slices.Contains(listed, op) {
				t.Errorf("%s: %s is mapped: %v, listed as unmapped: %v", name, op, mapped, !mapped)
			}
		}
		for _, op := range listed {
			if !slices.Contains(operations, op) {
				t.Errorf("%s: the list has %s, the model has not", name, op)
			}
		}
		for op := range s.operations {
			if !slices.Contains(operations, op) {
				t.Errorf("%s: the table has %s, the model has not", name, op)
			}
		}
	}
	if len(EC2.operations) < 700 || len(ELB.operations) < 50 {
		t.Errorf("%d and %d operations", len(EC2.operations), len(ELB.operations))
	}
}

const account = "111111111111"

// read reads a request: "JSON Op {...}", "GET query", "POST path form".
func read(s *Service, request string) string {
	r := call.Request{Method: "POST", URI: "/", Header: http.Header{}, Region: "us-east-1", Account: func(string) string { return account }}
	kind, rest, _ := strings.Cut(request, " ")
	body := ""
	switch kind {
	case "JSON":
		op, b, _ := strings.Cut(rest, " ")
		r.Header.Set("X-Amz-Target", s.target+"."+op)
		body = b
	case "GET":
		r.Method, r.URI = "GET", rest
	default:
		r.URI, body, _ = strings.Cut(rest, " ")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	c, e := s.Read(r)
	if e == nil && c.Body != nil {
		var out io.Reader
		if out, e = c.Body(strings.NewReader(body)); e == nil {
			if sent, _ := io.ReadAll(out); string(sent) != body {
				return "the body was changed"
			}
		}
	}
	return show(c, e)
}

func show(c *call.Call, e *call.Error) string {
	if e != nil {
		return e.Code
	}
	if c.Unknown != "" {
		return "unknown"
	}
	var out []string
	for _, k := range c.Checks {
		out = append(out, k.Action+" "+strings.TrimPrefix(k.Resource, "arn:aws:"))
	}
	for _, key := range []string{"sns:Protocol", "sts:ExternalId", "aws:RequestTag/a", "ec2:CreateAction"} {
		if v := c.Context[key]; v != nil {
			out = append(out, key+"="+strings.Join(v, ","))
		}
	}
	return strings.Join(out, "; ")
}

func TestRequestsNameTheirResources(t *testing.T) {
	const q = "sqs:us-east-1:222222222222:q"
	for _, tc := range []struct {
		service       *Service
		request, want string
	}{
		{SNS, "POST / Action=Publish&TopicArn=arn:aws:sns:us-east-1:111111111111:t&Message=x", "sns:Publish sns:us-east-1:111111111111:t"},
		{SNS, "POST / Action=Publish&PhoneNumber=123", "sns:Publish *"},
		{SNS, "POST / Action=Publish&Message=x", "InvalidRequest"},
		{SNS, "POST / Action=Publish&TopicArn=arn:aws:sns:us-east-1:111111111111:t&topicarn=arn:aws:sns:us-east-1:111111111111:u", "InvalidRequest"},
		{SNS, "POST / Action=Publish&TopicArn=arn:aws:sns:us-east-1:111111111111:t&TopicArn=arn:aws:sns:us-east-1:111111111111:u", "InvalidRequest"},
		{EC2, "POST / Action=DeleteVpc&VpcId=vpc-0123456789abcdef0&vpcId=vpc-0123456789abcdef1", "InvalidRequest"},
		{SNS, "POST / Action=Publish&topicarn=arn:aws:sns:us-east-1:111111111111:u", "InvalidRequest"},
		{SNS, "POST / Action=Subscribe&TopicArn=arn:aws:sns:us-east-1:111111111111:t&Protocol=https", "sns:Subscribe sns:us-east-1:111111111111:t; sns:Protocol=https"},
		{SNS, "POST / Action=CreateTopic&Name=t&Tags.member.1.Key=a&Tags.member.1.Value=b", "sns:CreateTopic sns:us-east-1:111111111111:t; aws:RequestTag/a=b"},
		{SNS, "GET /?Action=ListTopics&Version=2010-03-31", "sns:ListTopics *"},
		{SNS, "GET /?Action=Publish&AWSAccessKeyId=AK&SignatureVersion=2", "InvalidRequest"},
		{SNS, "POST /?Action=ListTopics Action=Publish", "unknown"},
		{SNS, "POST / Action=Frobnicate", "unknown"},
		{SNS, "POST / x=1", "unknown"},

		{SQS, `JSON SendMessage {"QueueUrl":"http://sqs.test/222222222222/q","MessageBody":"x"}`, "sqs:SendMessage " + q},
		{SQS, `JSON DeleteMessageBatch {"QueueUrl":"/222222222222/q"}`, "sqs:DeleteMessage " + q},
		{SQS, `JSON SendMessage {"QueueUrl":"http://sqs.test/222222222222/q%2f..%2fp"}`, "InvalidRequest"},
		{SQS, `JSON SendMessage {"QueueUrl":"http://sqs.test/x/222222222222/q"}`, "InvalidRequest"},
		{SQS, `JSON SendMessage {"QueueUrl":"http://sqs.test/222222222222/q","queueUrl":"http://sqs.test/222222222222/p"}`, "SerializationException"},
		{SQS, `JSON CreateQueue {"QueueName":"q"}`, "sqs:CreateQueue sqs:us-east-1:111111111111:q"},
		{SQS, `JSON CreateQueue {"QueueName":"q","QueueOwnerAWSAccountId":"222222222222"}`, "sqs:CreateQueue sqs:us-east-1:111111111111:q"},
		{SQS, `JSON GetQueueUrl {"QueueName":"q","QueueOwnerAWSAccountId":"222222222222"}`, "sqs:GetQueueUrl " + q},
		{SQS, `JSON StartMessageMoveTask {"SourceArn":"arn:aws:` + q + `","DestinationArn":"arn:aws:` + q + `2"}`, "sqs:StartMessageMoveTask " + q + "; sqs:SendMessage " + q + "2"},
		{SQS, `JSON CancelMessageMoveTask {"TaskHandle":"x"}`, "unknown"},
		{SQS, "POST /222222222222/q Action=ReceiveMessage", "sqs:ReceiveMessage " + q},
		{SQS, "POST /222222222222/q Action=ReceiveMessage&QueueUrl=http://sqs.test/222222222222/p", "InvalidRequest"},
		{SQS, "POST / Action=SendMessage&QueueUrl=http://sqs.test/222222222222/q", "sqs:SendMessage " + q},
		{SQS, "POST /a/b/c Action=SendMessage", "unknown"},

		{STS, "POST / Action=AssumeRole&RoleArn=arn:aws:iam::111111111111:role/r&ExternalId=e&Tags.member.1.Key=a&Tags.member.1.Value=b",
			"sts:AssumeRole iam::111111111111:role/r; sts:TagSession iam::111111111111:role/r; sts:ExternalId=e; aws:RequestTag/a=b"},
		{STS, "POST / Action=AssumeRole&RoleArn=arn:aws:iam::111111111111:role/r&SourceIdentity=x", "sts:AssumeRole iam::111111111111:role/r; sts:SetSourceIdentity iam::111111111111:role/r"},
		{STS, "POST / Action=AssumeRole&RoleArn=arn:aws:iam::111111111111:role/*", "InvalidRequest"},
		{STS, "POST / Action=GetCallerIdentity", "sts:GetCallerIdentity *"},

		{EC2, "POST / Action=DescribeInstances&InstanceId.1=i-0123456789abcdef0", "ec2:DescribeInstances *"},
		{EC2, "POST / Action=DeleteVpcEndpoints&VpcEndpointId.1=vpce-0123456789abcdef0&VpcEndpointId.2=vpce-0123456789abcdef1",
			"ec2:DeleteVpcEndpoints ec2:us-east-1:111111111111:vpc-endpoint/vpce-0123456789abcdef0; ec2:DeleteVpcEndpoints ec2:us-east-1:111111111111:vpc-endpoint/vpce-0123456789abcdef1"},
		{EC2, "POST / Action=CreateSubnet&VpcId=vpc-0123456789abcdef0&TagSpecification.1.ResourceType=subnet&TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=b",
			"ec2:CreateSubnet ec2:us-east-1:111111111111:subnet/*; ec2:CreateSubnet ec2:us-east-1:111111111111:vpc/vpc-0123456789abcdef0; ec2:CreateTags ec2:us-east-1:111111111111:subnet/*; aws:RequestTag/a=b; ec2:CreateAction=CreateSubnet"},
		{EC2, "POST / Action=DisassociateAddress&AssociationId=eipassoc-0123456789abcdef0", "ec2:DisassociateAddress *"},
		// An id where the operation has none says nothing.
		{EC2, "POST / Action=DeleteVpc&VpcId=vpc-0123456789abcdef0&InstanceId=i-0123456789abcdef0",
			"ec2:DeleteVpc *; ec2:DeleteVpc ec2:us-east-1:111111111111:vpc/vpc-0123456789abcdef0"},
		{EC2, "POST / Action=EnableEbsEncryptionByDefault&InstanceId=i-0123456789abcdef0", "ec2:EnableEbsEncryptionByDefault *"},
		{EC2, "POST / Action=RunInstances&NetworkInterface.1.SubnetId=subnet-0123456789abcdef0&NetworkInterface.1.VpcId=vpc-0123456789abcdef0&KeyName=mine",
			"ec2:RunInstances *; ec2:RunInstances ec2:us-east-1:111111111111:instance/*; ec2:RunInstances ec2:us-east-1:111111111111:key-pair/mine; " +
				"ec2:RunInstances ec2:us-east-1:111111111111:network-interface/*; ec2:RunInstances ec2:us-east-1:111111111111:subnet/subnet-0123456789abcdef0; " +
				"ec2:RunInstances ec2:us-east-1:111111111111:volume/*"},
		// Names stand in for ids.
		{EC2, "POST / Action=DeleteKeyPair&KeyName=mine&InstanceId=i-0123456789abcdef0", "ec2:DeleteKeyPair *; ec2:DeleteKeyPair ec2:us-east-1:111111111111:key-pair/mine"},
		{EC2, "POST / Action=DeleteKeyPair&KeyName=*", "InvalidRequest"},
		{EC2, "POST / Action=DeleteLaunchTemplate&LaunchTemplateName=other&LaunchTemplateId=lt-0123456789abcdef0",
			"ec2:DeleteLaunchTemplate *; ec2:DeleteLaunchTemplate ec2:us-east-1:111111111111:launch-template/lt-0123456789abcdef0"},
		{EC2, "POST / Action=CreateSecurityGroup&GroupName=web&VpcId=vpc-0123456789abcdef0",
			"ec2:CreateSecurityGroup ec2:us-east-1:111111111111:security-group/*; ec2:CreateSecurityGroup ec2:us-east-1:111111111111:vpc/vpc-0123456789abcdef0"},
		{EC2, "POST / Action=AllocateAddress", "ec2:AllocateAddress ec2:us-east-1:111111111111:elastic-ip/*"},
		{EC2, "POST / Action=CreateTags&ResourceId.1=vpc-0123456789abcdef0&tag.1.key=a", "InvalidRequest"},
		{EC2, "POST / Action=Frobnicate", "unknown"},

		{ELB, "POST / Action=DescribeLoadBalancers", "elasticloadbalancing:DescribeLoadBalancers *"},
		{ELB, "POST / Action=CreateLoadBalancer&Name=n&Type=network", "elasticloadbalancing:CreateLoadBalancer elasticloadbalancing:us-east-1:111111111111:loadbalancer/net/n/*"},
		{ELB, "POST / Action=RegisterTargets&TargetGroupArn=arn:aws:elasticloadbalancing:us-east-1:111111111111:targetgroup/t/0123",
			"elasticloadbalancing:RegisterTargets elasticloadbalancing:us-east-1:111111111111:targetgroup/t/0123"},

		{Logs, `JSON PutLogEvents {"logGroupName":"/a/b","logStreamName":"s","logEvents":[]}`, "logs:PutLogEvents logs:us-east-1:111111111111:log-group:/a/b:log-stream:s"},
		{Logs, `JSON CreateLogGroup {"logGroupName":"g"}`, "logs:CreateLogGroup logs:us-east-1:111111111111:log-group:g:log-stream:"},
		{Logs, `JSON StartQuery {"logGroupIdentifiers":["arn:aws:logs:us-east-1:111111111111:log-group:g:*","h"]}`,
			"logs:StartQuery logs:us-east-1:111111111111:log-group:g:log-stream:; logs:StartQuery logs:us-east-1:111111111111:log-group:h:log-stream:"},
		// A member that the operation does not have changes nothing.
		{Logs, `JSON DeleteLogGroup {"logGroupName":"g","logStreamName":"s"}`, "logs:DeleteLogGroup logs:us-east-1:111111111111:log-group:g:log-stream:"},
		{Logs, `JSON PutLogEvents {"logGroupName":"g*","logStreamName":"s"}`, "InvalidRequest"},
		{Logs, `JSON StartQuery {"queryString":"SOURCE g"}`, "InvalidRequest"},
		{Logs, `JSON GetQueryResults {"queryId":"x"}`, "unknown"},

		{ECR, `JSON PutImage {"repositoryName":"team/app","registryId":"222222222222"}`, "ecr:PutImage ecr:us-east-1:222222222222:repository/team/app"},
		{ECR, `JSON BatchGetImage {"repositoryName":"Bad"}`, "InvalidRequest"},
		{ECR, `JSON DescribeRepositories {}`, "ecr:DescribeRepositories ecr:us-east-1:111111111111:repository/*"},
		{ECR, `JSON GetAuthorizationToken {}`, "ecr:GetAuthorizationToken *"},
		{ECR, "POST / Action=PutImage", "unknown"},
	} {
		for range 2 { // the first must not change what the second is
			if got := read(tc.service, tc.request); got != tc.want {
				t.Errorf("%s %s:\n got %s\nwant %s", tc.service.Namespace, tc.request, got, tc.want)
			}
		}
	}
}

func TestPullsAndPushesAreActionsOnTheRepository(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	app := " ecr:us-east-1:222222222222:repository/team/app"
	for request, want := range map[string]string{
		"GET /v2/":                                            "ecr:GetAuthorizationToken *",
		"HEAD /v2/team/app/manifests/latest":                  "ecr:BatchGetImage" + app,
		"GET /v2/team/app/manifests/" + digest:                "ecr:BatchGetImage" + app,
		"PUT /v2/team/app/manifests/v1":                       "ecr:PutImage" + app,
		"DELETE /v2/team/app/manifests/v1":                    "ecr:BatchDeleteImage" + app,
		"GET /v2/team/app/blobs/" + digest:                    "ecr:BatchCheckLayerAvailability" + app + "; ecr:GetDownloadUrlForLayer" + app,
		"HEAD /v2/team/app/blobs/" + digest:                   "ecr:BatchCheckLayerAvailability" + app,
		"POST /v2/team/app/blobs/uploads/":                    "ecr:InitiateLayerUpload" + app,
		"PATCH /v2/team/app/blobs/uploads/u-1":                "ecr:UploadLayerPart" + app,
		"PUT /v2/team/app/blobs/uploads/u-1?digest=" + digest: "ecr:UploadLayerPart" + app + "; ecr:CompleteLayerUpload" + app,
		"POST /v2/team/app/blobs/uploads/?mount=" + digest + "&from=other": "ecr:InitiateLayerUpload" + app +
			"; ecr:BatchCheckLayerAvailability ecr:us-east-1:222222222222:repository/other; ecr:GetDownloadUrlForLayer ecr:us-east-1:222222222222:repository/other",
		"POST /v2/team/app/blobs/uploads/?mount=" + digest: "ecr:InitiateLayerUpload" + app +
			"; ecr:BatchCheckLayerAvailability ecr:us-east-1:222222222222:repository/*; ecr:GetDownloadUrlForLayer ecr:us-east-1:222222222222:repository/*",
		"GET /v2/team/app/tags/list?n=5":             "ecr:ListImages" + app,
		"GET /v2/_catalog":                           "unknown",
		"DELETE /v2/team/app/blobs/" + digest:        "unknown",
		"GET /v2/team/app/manifests/latest?x=1":      "unknown",
		"GET /v2/team/app/manifests/a/../../b":       "InvalidURI",
		"GET /v2/team%2Fapp/manifests/latest":        "InvalidURI",
		"GET /v2/team//app/manifests/latest":         "InvalidURI",
		"GET /v2/Team/manifests/latest":              "InvalidRequest",
		"GET /v2/a/manifests/b/blobs/uploads/":       "unknown",
		"GET /v2/a/blobs/" + digest + "/manifests/x": "InvalidRequest",
	} {
		method, uri, _ := strings.Cut(request, " ")
		c, e := ReadRegistry(call.Request{Method: method, URI: uri, Label: "222222222222", Header: http.Header{"Authorization": {"Basic eA=="}}, Region: "us-east-1"})
		if got := show(c, e); got != want {
			t.Errorf("%s:\n got %s\nwant %s", request, got, want)
		}
	}
	if _, e := ReadRegistry(call.Request{Method: "GET", URI: "/v2/", Header: http.Header{}}); e == nil {
		t.Error("a host without a registry is taken")
	}
}

func FuzzForm(f *testing.F) {
	f.Add("Action=CreateSubnet&VpcId=vpc-0123456789abcdef0&TagSpecification.1.Tag.1.Key=a")
	f.Fuzz(func(t *testing.T, body string) {
		for _, s := range []*Service{EC2, ELB, SNS, SQS, STS} {
			if got := read(s, "POST / "+body); got == "" || got == "the body was changed" {
				t.Fatalf("%s %q: %q", s.Namespace, body, got)
			}
		}
	})
}
