// SPDX-License-Identifier: Apache-2.0

// Command examples makes and takes away the three kinds of thing this project
// is about, with the AWS SDK: a gateway endpoint to S3, an endpoint service
// for another account, and an interface endpoint to it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
)

const usage = `usage:
  gateway up BUCKET | gateway down
  service up ACCOUNT | service accept | service down
  interface up SERVICE | interface wait | interface down`

// clients talk to the region and the endpoint (AWS_ENDPOINT_URL) that the
// environment names.
type clients struct {
	region string
	ec2    *ec2.Client
	elb    *elb.Client
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("%s", usage)
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	c := &clients{cfg.Region, ec2.NewFromConfig(cfg), elb.NewFromConfig(cfg)}
	story, what, rest := args[0], args[1], args[2:]
	switch {
	case story == "gateway" && what == "up" && len(rest) == 1:
		return c.gatewayUp(ctx, rest[0])
	case story == "service" && what == "up" && len(rest) == 1:
		return c.serviceUp(ctx, rest[0])
	case story == "service" && what == "accept":
		return c.serviceAccept(ctx)
	case story == "service" && what == "down":
		return c.serviceDown(ctx)
	case story == "interface" && what == "up" && len(rest) == 1:
		return c.interfaceUp(ctx, rest[0])
	case story == "interface" && what == "wait":
		return c.interfaceWait(ctx)
	case what == "down" && (story == "gateway" || story == "interface"):
		return c.deleteNetwork(ctx, "example-"+story)
	}
	return fmt.Errorf("%s", usage)
}

func tags(of types.ResourceType, project string) []types.TagSpecification {
	return []types.TagSpecification{{ResourceType: of, Tags: []types.Tag{{Key: aws.String("Project"), Value: &project}}}}
}

func where(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

// until asks once a second until the answer is yes: states change within a
// second here, and within minutes at AWS.
func until(ctx context.Context, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		if yes, err := ask(); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// network makes a VPC with a subnet in two zones.
func (c *clients) network(ctx context.Context, project string) (vpc string, subnets []string, err error) {
	v, err := c.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: tags(types.ResourceTypeVpc, project)})
	if err != nil {
		return "", nil, err
	}
	zones, err := c.ec2.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{})
	if err != nil {
		return "", nil, err
	}
	for i, zone := range zones.AvailabilityZones[:2] {
		s, err := c.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{
			VpcId: v.Vpc.VpcId, CidrBlock: aws.String(fmt.Sprintf("10.0.%d.0/24", i+1)), AvailabilityZone: zone.ZoneName,
		})
		if err != nil {
			return "", nil, err
		}
		subnets = append(subnets, *s.Subnet.SubnetId)
	}
	return *v.Vpc.VpcId, subnets, nil
}

// deleteNetwork deletes a project's VPCs with what these programs put there.
func (c *clients) deleteNetwork(ctx context.Context, project string) error {
	vpcs, err := c.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []types.Filter{where("tag:Project", project)}})
	if err != nil {
		return err
	}
	for _, v := range vpcs.Vpcs {
		inside := []types.Filter{where("vpc-id", *v.VpcId)}
		endpoints, err := c.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: inside})
		if err != nil {
			return err
		}
		for _, e := range endpoints.VpcEndpoints {
			if _, err := c.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*e.VpcEndpointId}}); err != nil {
				return err
			}
		}
		err = until(ctx, func() (bool, error) {
			endpoints, err := c.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: inside})
			if err != nil || len(endpoints.VpcEndpoints) > 0 {
				return false, err
			}
			interfaces, err := c.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: inside})
			return err == nil && len(interfaces.NetworkInterfaces) == 0, err
		})
		if err != nil {
			return err
		}
		groups, err := c.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: inside})
		if err != nil {
			return err
		}
		for _, g := range groups.SecurityGroups {
			if *g.GroupName == "default" {
				continue
			}
			if _, err := c.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: g.GroupId}); err != nil {
				return err
			}
		}
		subnets, err := c.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: inside})
		if err != nil {
			return err
		}
		for _, s := range subnets.Subnets {
			if _, err := c.ec2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: s.SubnetId}); err != nil {
				return err
			}
		}
		if _, err := c.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: v.VpcId}); err != nil {
			return err
		}
		fmt.Println("deleted", *v.VpcId)
	}
	return nil
}
