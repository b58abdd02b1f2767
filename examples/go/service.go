// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

const serviceProject = "example-service"

// serviceUp offers what listens on port 8080 in a VPC to another account: a
// network load balancer, an endpoint service that asks for acceptance, a
// permission.
func (c *clients) serviceUp(ctx context.Context, consumer string) error {
	vpc, subnets, err := c.network(ctx, serviceProject)
	if err != nil {
		return err
	}
	balancers, err := c.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{
		Name: aws.String(serviceProject), Type: elbtypes.LoadBalancerTypeEnumNetwork,
		Scheme: elbtypes.LoadBalancerSchemeEnumInternal, Subnets: subnets,
	})
	if err != nil {
		return err
	}
	balancer := *balancers.LoadBalancers[0].LoadBalancerArn
	// Register what should answer: RegisterTargets.
	targets, err := c.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{
		Name: aws.String(serviceProject), Protocol: elbtypes.ProtocolEnumTcp, Port: aws.Int32(8080), VpcId: &vpc, TargetType: elbtypes.TargetTypeEnumIp,
	})
	if err != nil {
		return err
	}
	_, err = c.elb.CreateListener(ctx, &elb.CreateListenerInput{
		LoadBalancerArn: &balancer, Protocol: elbtypes.ProtocolEnumTcp, Port: aws.Int32(80),
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: targets.TargetGroups[0].TargetGroupArn}},
	})
	if err != nil {
		return err
	}
	available := elb.NewLoadBalancerAvailableWaiter(c.elb, func(o *elb.LoadBalancerAvailableWaiterOptions) { o.MinDelay = time.Second })
	if err := available.Wait(ctx, &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{balancer}}, 10*time.Minute); err != nil {
		return err
	}
	created, err := c.ec2.CreateVpcEndpointServiceConfiguration(ctx, &ec2.CreateVpcEndpointServiceConfigurationInput{
		NetworkLoadBalancerArns: []string{balancer}, AcceptanceRequired: aws.Bool(true),
		TagSpecifications: tags(types.ResourceTypeVpcEndpointService, serviceProject),
	})
	if err != nil {
		return err
	}
	_, err = c.ec2.ModifyVpcEndpointServicePermissions(ctx, &ec2.ModifyVpcEndpointServicePermissionsInput{
		ServiceId: created.ServiceConfiguration.ServiceId, AddAllowedPrincipals: []string{"arn:aws:iam::" + consumer + ":root"},
	})
	if err != nil {
		return err
	}
	fmt.Println("service", *created.ServiceConfiguration.ServiceName)
	return nil
}

// services are the ids of the services that serviceUp made.
func (c *clients) services(ctx context.Context) (ids []string, err error) {
	found, err := c.ec2.DescribeVpcEndpointServiceConfigurations(ctx, &ec2.DescribeVpcEndpointServiceConfigurationsInput{
		Filters: []types.Filter{where("tag:Project", serviceProject)},
	})
	if err != nil {
		return nil, err
	}
	for _, s := range found.ServiceConfigurations {
		ids = append(ids, *s.ServiceId)
	}
	return ids, nil
}

// connected are the endpoints of a service that are in one of some states.
func (c *clients) connected(ctx context.Context, service string, states ...string) (ids []string, err error) {
	found, err := c.ec2.DescribeVpcEndpointConnections(ctx, &ec2.DescribeVpcEndpointConnectionsInput{
		Filters: []types.Filter{where("service-id", service), where("vpc-endpoint-state", states...)},
	})
	if err != nil {
		return nil, err
	}
	for _, e := range found.VpcEndpointConnections {
		ids = append(ids, *e.VpcEndpointId)
	}
	return ids, nil
}

// serviceAccept accepts whoever waits.
func (c *clients) serviceAccept(ctx context.Context) error {
	services, err := c.services(ctx)
	if err != nil {
		return err
	}
	for _, s := range services {
		waiting, err := c.connected(ctx, s, "pendingAcceptance")
		if err != nil {
			return err
		}
		if len(waiting) == 0 {
			continue
		}
		if _, err := c.ec2.AcceptVpcEndpointConnections(ctx, &ec2.AcceptVpcEndpointConnectionsInput{ServiceId: &s, VpcEndpointIds: waiting}); err != nil {
			return err
		}
		for _, id := range waiting {
			fmt.Println("accepted", id)
		}
	}
	return nil
}

func (c *clients) serviceDown(ctx context.Context) error {
	services, err := c.services(ctx)
	if err != nil {
		return err
	}
	for _, s := range services {
		endpoints, err := c.connected(ctx, s, "pendingAcceptance", "pending", "available")
		if err != nil {
			return err
		}
		if len(endpoints) > 0 {
			if _, err := c.ec2.RejectVpcEndpointConnections(ctx, &ec2.RejectVpcEndpointConnectionsInput{ServiceId: &s, VpcEndpointIds: endpoints}); err != nil {
				return err
			}
		}
		deleted, err := c.ec2.DeleteVpcEndpointServiceConfigurations(ctx, &ec2.DeleteVpcEndpointServiceConfigurationsInput{ServiceIds: []string{s}})
		if err != nil {
			return err
		}
		// What could not be done for one of several is no error of the call.
		for _, u := range deleted.Unsuccessful {
			return errors.New(*u.Error.Message)
		}
	}
	balancers, err := c.elb.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{serviceProject}})
	var none *elbtypes.LoadBalancerNotFoundException
	if err != nil && !errors.As(err, &none) {
		return err
	}
	if err == nil {
		if _, err := c.elb.DeleteLoadBalancer(ctx, &elb.DeleteLoadBalancerInput{LoadBalancerArn: balancers.LoadBalancers[0].LoadBalancerArn}); err != nil {
			return err
		}
	}
	targets, err := c.elb.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{Names: []string{serviceProject}})
	var noGroup *elbtypes.TargetGroupNotFoundException
	if err != nil && !errors.As(err, &noGroup) {
		return err
	}
	if err == nil {
		if _, err := c.elb.DeleteTargetGroup(ctx, &elb.DeleteTargetGroupInput{TargetGroupArn: targets.TargetGroups[0].TargetGroupArn}); err != nil {
			return err
		}
	}
	return c.deleteNetwork(ctx, serviceProject)
}
