# SPDX-License-Identifier: Apache-2.0
# An interface endpoint to the service of the other account. Its VPC has the
# same addresses as the provider's, which does not matter.

resource "aws_vpc" "consumer" {
  provider             = aws.consumer
  cidr_block           = "10.0.0.0/16"
  enable_dns_hostnames = true
  tags                 = { Name = "example-interface" }
}

resource "aws_subnet" "consumer" {
  provider          = aws.consumer
  count             = length(local.zones)
  vpc_id            = aws_vpc.consumer.id
  cidr_block        = cidrsubnet(aws_vpc.consumer.cidr_block, 8, count.index + 1)
  availability_zone = local.zones[count.index]
}

resource "aws_security_group" "endpoint" {
  provider    = aws.consumer
  name        = "example-interface"
  description = "who may use the endpoint"
  vpc_id      = aws_vpc.consumer.id
}

resource "aws_vpc_security_group_ingress_rule" "endpoint" {
  provider          = aws.consumer
  security_group_id = aws_security_group.endpoint.id
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
  cidr_ipv4         = aws_vpc.consumer.cidr_block
}

resource "aws_vpc_endpoint" "interface" {
  provider            = aws.consumer
  vpc_endpoint_type   = "Interface"
  vpc_id              = aws_vpc.consumer.id
  service_name        = aws_vpc_endpoint_service.this.service_name
  subnet_ids          = aws_subnet.consumer[*].id
  security_group_ids  = [aws_security_group.endpoint.id]
  private_dns_enabled = false
  tags                = { Name = "example-interface" }

  # Without the permission the name of the service does not exist.
  depends_on = [aws_vpc_endpoint_service_allowed_principal.consumer]
}
