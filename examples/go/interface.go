// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const interfaceProject = "example-interface"

// interfaceUp makes a VPC with an interface endpoint to a service of another
// account.
func (c *clients) interfaceUp(ctx context.Context, service string) error {
	vpc, subnets, err := c.network(ctx, interfaceProject)
	if err != nil {
		return err
	}
	group, err := c.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		VpcId: &vpc, GroupName: aws.String(interfaceProject), Description: aws.String("who may use the endpoint"),
	})
	if err != nil {
		return err
	}
	_, err = c.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: group.GroupId, IpProtocol: aws.String("tcp"), FromPort: aws.Int32(80), ToPort: aws.Int32(80), CidrIp: aws.String("10.0.0.0/16"),
	})
	if err != nil {
		return err
	}
	created, err := c.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		VpcEndpointType:   types.VpcEndpointTypeInterface,
		VpcId:             &vpc,
		ServiceName:       &service,
		SubnetIds:         subnets,
		SecurityGroupIds:  []string{*group.GroupId},
		PrivateDnsEnabled: aws.Bool(false),
		TagSpecifications: tags(types.ResourceTypeVpcEndpoint, interfaceProject),
	})
	if err != nil {
		return err
	}
	fmt.Println("endpoint", *created.VpcEndpoint.VpcEndpointId, created.VpcEndpoint.State)
	return nil
}

// interfaceWait waits until the provider has decided.
func (c *clients) interfaceWait(ctx context.Context) error {
	var endpoint types.VpcEndpoint
	err := until(ctx, func() (bool, error) {
		found, err := c.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: []types.Filter{where("tag:Project", interfaceProject)}})
		if err != nil {
			return false, err
		}
		if len(found.VpcEndpoints) != 1 {
			return false, fmt.Errorf("%d endpoints, want 1", len(found.VpcEndpoints))
		}
		endpoint = found.VpcEndpoints[0]
		// The SDK's constants begin with a capital, the service's states do not.
		return endpoint.State != "pendingAcceptance" && endpoint.State != "pending", nil
	})
	if err != nil {
		return err
	}
	if endpoint.State != "available" {
		return fmt.Errorf("the endpoint is %s", endpoint.State)
	}
	for _, e := range endpoint.DnsEntries {
		fmt.Println("name", *e.DnsName)
	}
	return nil
}
