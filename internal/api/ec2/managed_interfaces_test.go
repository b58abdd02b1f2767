// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/control/controltest"
)

// When DeleteVpcEndpoints has returned, the endpoint's interfaces are gone and
// the subnet can be deleted.
func TestInterfacesOfADeletedEndpointAreGoneAtOnce(t *testing.T) {
	a := newEndpointAPI(t)
	ctx := context.Background()
	c := a.client(controltest.Consumer)
	e, err := c.CreateVpcEndpoint(ctx, &sdk.CreateVpcEndpointInput{
		VpcId: aws.String(a.vpc), ServiceName: aws.String(epS3), VpcEndpointType: types.VpcEndpointTypeInterface, SubnetIds: []string{epSubnetA, epSubnetB},
		PrivateDnsEnabled: aws.Bool(false),
	})
	if err != nil {
		t.Fatal(err)
	}
	list := func() int {
		t.Helper()
		n, err := c.DescribeNetworkInterfaces(ctx, &sdk.DescribeNetworkInterfacesInput{Filters: []types.Filter{
			{Name: aws.String("description"), Values: []string{"VPC Endpoint Interface " + *e.VpcEndpoint.VpcEndpointId}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return len(n.NetworkInterfaces)
	}
	equal(t, "the interfaces of the endpoint", list(), 2)
	if _, err := c.DeleteVpcEndpoints(ctx, &sdk.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*e.VpcEndpoint.VpcEndpointId}}); err != nil {
		t.Fatal(err)
	}
	equal(t, "the interfaces after its deletion", list(), 0)
	if _, err := c.DeleteSubnet(ctx, &sdk.DeleteSubnetInput{SubnetId: aws.String(epSubnetA)}); err != nil {
		t.Error(err)
	}
}
