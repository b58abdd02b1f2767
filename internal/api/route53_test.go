// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	awsr53 "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"postern.dev/postern/internal/api/apitest"
)

func (in *installation) route53(id identity, region string) *awsr53.Client {
	return awsr53.New(awsr53.Options{Region: region, HTTPClient: apitest.Client(), BaseEndpoint: &in.url, Credentials: id.provider(), RetryMaxAttempts: 1})
}

// Through the whole door: signatures, policies, the record of calls.
func TestRoute53IsBehindTheDoorAsAllServicesAre(t *testing.T) {
	in := newInstallation(t)
	ctx := t.Context()
	made, err := in.ec2(consumerRoot).CreateVpc(ctx, &awsec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	root := in.route53(consumerRoot, "us-east-1")
	zone, err := root.CreateHostedZone(ctx, &awsr53.CreateHostedZoneInput{
		Name: aws.String("example.com"), CallerReference: aws.String("x"), VPC: &types.VPC{VPCId: made.Vpc.VpcId, VPCRegion: "us-east-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimPrefix(*zone.HostedZone.Id, "/hostedzone/")
	if log := in.log.String(); !strings.Contains(log, `"action":"CreateHostedZone"`) || !strings.Contains(log, `"/hostedzone/`+id+`"`) || !strings.Contains(log, `"VPC.VPCId":"`+*made.Vpc.VpcId) {
		t.Errorf("the record of the call lacks its action, its parameters or the zone: %s", log[max(0, len(log)-1500):])
	}
	ann := in.user("ann", allowing(`"Effect":"Allow","Action":"route53:GetHostedZone","Resource":"arn:aws:route53:::hostedzone/`+id+`"`))
	_, err = in.route53(ann, "us-east-1").GetHostedZone(ctx, &awsr53.GetHostedZoneInput{Id: &id})
	ok(t, "the zone of the policy", err)
	_, err = in.route53(ann, "us-east-1").GetHostedZone(ctx, &awsr53.GetHostedZoneInput{Id: aws.String("Z0")})
	refused(t, "another zone", err, "AccessDenied", "route53:GetHostedZone on resource: arn:aws:route53:::hostedzone/Z0")
	_, err = in.route53(ann, "us-east-1").DeleteHostedZone(ctx, &awsr53.DeleteHostedZoneInput{Id: &id})
	refused(t, "another action", err, "AccessDenied")
	_, err = in.route53(identity{id: consumerRoot.id, secret: "wrong"}, "us-east-1").GetHostedZone(ctx, &awsr53.GetHostedZoneInput{Id: &id})
	refused(t, "a wrong secret", err, "SignatureDoesNotMatch")
	_, err = in.route53(providerRoot, "us-east-1").GetHostedZone(ctx, &awsr53.GetHostedZoneInput{Id: &id})
	refused(t, "another account", err, "NoSuchHostedZone")
}
