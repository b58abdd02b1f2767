# SPDX-License-Identifier: Apache-2.0
# Offers what listens on port 8080 in a VPC to another account.

resource "aws_vpc" "provider" {
  provider   = aws.provider
  cidr_block = "10.0.0.0/16"
  tags       = { Name = "example-service" }
}

resource "aws_subnet" "provider" {
  provider          = aws.provider
  count             = length(local.zones)
  vpc_id            = aws_vpc.provider.id
  cidr_block        = cidrsubnet(aws_vpc.provider.cidr_block, 8, count.index + 1)
  availability_zone = local.zones[count.index]
}

resource "aws_lb" "service" {
  provider           = aws.provider
  name               = "example-service"
  load_balancer_type = "network"
  internal           = true
  subnets            = aws_subnet.provider[*].id
}

# Its targets, aws_lb_target_group_attachment, are what should answer.
resource "aws_lb_target_group" "service" {
  provider    = aws.provider
  name        = "example-service"
  port        = 8080
  protocol    = "TCP"
  target_type = "ip"
  vpc_id      = aws_vpc.provider.id
}

resource "aws_lb_listener" "service" {
  provider          = aws.provider
  load_balancer_arn = aws_lb.service.arn
  port              = 80
  protocol          = "TCP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.service.arn
  }
}

resource "aws_vpc_endpoint_service" "this" {
  provider                   = aws.provider
  acceptance_required        = true
  network_load_balancer_arns = [aws_lb.service.arn]
  tags                       = { Name = "example-service" }
}

resource "aws_vpc_endpoint_service_allowed_principal" "consumer" {
  provider                = aws.provider
  vpc_endpoint_service_id = aws_vpc_endpoint_service.this.id
  principal_arn           = "arn:aws:iam::${data.aws_caller_identity.consumer.account_id}:root"
}

resource "aws_vpc_endpoint_connection_accepter" "consumer" {
  provider                = aws.provider
  vpc_endpoint_service_id = aws_vpc_endpoint_service.this.id
  vpc_endpoint_id         = aws_vpc_endpoint.interface.id
}
