// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	awselb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// Permissions of an endpoint service are held against who really calls.
func TestServicePermissionsMatchTheCaller(t *testing.T) {
	in := newInstallation(t)
	ann := in.user("ann", allowing(everything))
	bob := in.user("bob", allowing(everything))
	if _, err := in.iam(consumerRoot).UpdateUser(t.Context(), &awsiam.UpdateUserInput{UserName: aws.String("ann"), NewPath: aws.String("/team/")}); err != nil {
		t.Fatal(err)
	}
	build := in.assume(ann, in.role(consumerRoot, "build", trusting(`"*"`), allowing(everything)), "job")
	other := in.assume(ann, in.role(consumerRoot, "other", trusting(`"*"`), allowing(everything)), "build")
	token, err := in.sts(ann).GetSessionToken(t.Context(), &awssts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	callers := map[string]identity{"root": consumerRoot, "ann": ann, "bob": bob, "build": build, "other": other, "ann's session": in.session(token.Credentials)}
	owner := in.assume(in.user("eve", allowing(everything)), in.role(providerRoot, "owner", trusting(`"*"`), allowing(everything)), "job")
	network, err := in.ec2(providerRoot).CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	subnet, err := in.ec2(providerRoot).CreateSubnet(t.Context(), &awsec2.CreateSubnetInput{VpcId: network.Vpc.VpcId, CidrBlock: aws.String("10.0.1.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	lb, err := in.elb(providerRoot).CreateLoadBalancer(t.Context(), &awselb.CreateLoadBalancerInput{
		Name: aws.String("one"), Type: "network", Scheme: "internal", Subnets: []string{*subnet.Subnet.SubnetId},
	})
	if err != nil {
		t.Fatal(err)
	}
	// A service as CreateVpcEndpointServiceConfiguration makes one, without the
	// wait for its load balancer.
	service := &vpc.EndpointService{
		ID: "vpce-svc-00000000000000001", Owner: controltest.Provider.Account, Name: "com.amazonaws.vpce.us-east-1.vpce-svc-00000000000000001",
		Zones: []string{*subnet.Subnet.AvailabilityZone}, Balancers: []vpc.ARN{vpc.ARN(*lb.LoadBalancers[0].LoadBalancerArn)},
	}
	if _, err := in.c.Store.Update(t.Context(), func(tx *store.Tx) error {
		tx.Put(service)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var before []string
	const arn = "arn:aws:iam::111111111111:"
	for _, c := range []struct {
		principal string
		finds     []string
	}{
		{"", nil},
		{"*", []string{"root", "ann", "bob", "build", "other", "ann's session"}},
		{arn + "root", []string{"root", "ann", "bob", "build", "other", "ann's session"}},
		{arn + "user/ann", []string{"ann", "ann's session"}},
		{arn + "role/build", []string{"build"}},
		{"arn:aws:iam::333333333333:role/build", nil},
	} {
		if c.principal != "" {
			if _, err := in.ec2(owner).ModifyVpcEndpointServicePermissions(t.Context(), &awsec2.ModifyVpcEndpointServicePermissionsInput{
				ServiceId: aws.String(string(service.ID)), AddAllowedPrincipals: []string{c.principal}, RemoveAllowedPrincipals: before,
			}); err != nil {
				t.Fatalf("%s: %v", c.principal, err)
			}
			before = []string{c.principal}
		}
		want := map[string]bool{}
		for _, name := range c.finds {
			want[name] = true
		}
		for name, who := range callers {
			_, err := in.ec2(who).DescribeVpcEndpointServices(t.Context(), &awsec2.DescribeVpcEndpointServicesInput{ServiceNames: []string{service.Name}})
			if want[name] {
				ok(t, name+" with a permission for "+c.principal, err)
			} else {
				refused(t, name+" with a permission for "+c.principal, err, "InvalidServiceName")
			}
		}
	}
}
