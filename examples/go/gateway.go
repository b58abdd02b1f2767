// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// gatewayUp makes a VPC whose way to S3 is a gateway endpoint that lets
// through one bucket.
func (c *clients) gatewayUp(ctx context.Context, bucket string) error {
	const project = "example-gateway"
	vpc, _, err := c.network(ctx, project)
	if err != nil {
		return err
	}
	tables, err := c.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: []types.Filter{where("vpc-id", vpc)}})
	if err != nil {
		return err
	}
	table := *tables.RouteTables[0].RouteTableId
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Effect": "Allow", "Principal": "*", "Action": "s3:*",
			"Resource": []string{"arn:aws:s3:::" + bucket, "arn:aws:s3:::" + bucket + "/*"},
		}},
	})
	if err != nil {
		return err
	}
	created, err := c.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		VpcEndpointType:   types.VpcEndpointTypeGateway,
		VpcId:             &vpc,
		ServiceName:       aws.String("com.amazonaws." + c.region + ".s3"),
		RouteTableIds:     []string{table},
		PolicyDocument:    aws.String(string(policy)),
		TagSpecifications: tags(types.ResourceTypeVpcEndpoint, project),
	})
	if err != nil {
		return err
	}
	endpoint := *created.VpcEndpoint.VpcEndpointId
	fmt.Println("vpc", vpc)
	fmt.Println("endpoint", endpoint)
	tables, err = c.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{table}})
	if err != nil {
		return err
	}
	for _, r := range tables.RouteTables[0].Routes {
		if aws.ToString(r.GatewayId) == endpoint {
			fmt.Println("route", *r.DestinationPrefixListId, *r.GatewayId)
		}
	}
	return nil
}
