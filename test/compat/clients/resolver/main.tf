# SPDX-License-Identifier: Apache-2.0

variable "endpoint" { type = string }
variable "target" {
  type    = string
  default = "192.0.2.53"
}
variable "name" {
  type    = string
  default = "corp"
}
variable "third" {
  type    = bool
  default = false
}

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  profile                 = "consumer"
  skip_region_validation  = true
  skip_metadata_api_check = true
  endpoints {
    ec2             = var.endpoint
    iam             = var.endpoint
    route53resolver = var.endpoint
    sts             = var.endpoint
  }
}

resource "aws_vpc" "main" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_subnet" "main" {
  for_each          = { a = "10.0.1.0/24", b = "10.0.2.0/24" }
  vpc_id            = aws_vpc.main.id
  cidr_block        = each.value
  availability_zone = "us-east-1${each.key}"
}

resource "aws_security_group" "dns" {
  vpc_id = aws_vpc.main.id
}

resource "aws_route53_resolver_endpoint" "inbound" {
  name               = var.name
  direction          = "INBOUND"
  security_group_ids = [aws_security_group.dns.id]
  ip_address {
    subnet_id = aws_subnet.main["a"].id
    ip        = "10.0.1.53"
  }
  ip_address {
    subnet_id = aws_subnet.main["b"].id
    ip        = "10.0.2.53"
  }
  dynamic "ip_address" {
    for_each = var.third ? ["10.0.2.54"] : []
    content {
      subnet_id = aws_subnet.main["b"].id
      ip        = ip_address.value
    }
  }
  tags = { team = "red" }
}

resource "aws_route53_resolver_endpoint" "outbound" {
  direction          = "OUTBOUND"
  security_group_ids = [aws_security_group.dns.id]
  dynamic "ip_address" {
    for_each = aws_subnet.main
    content {
      subnet_id = ip_address.value.id
    }
  }
}

resource "aws_route53_resolver_rule" "corp" {
  name                 = var.name
  domain_name          = "corp.example"
  rule_type            = "FORWARD"
  resolver_endpoint_id = aws_route53_resolver_endpoint.outbound.id
  target_ip {
    ip = var.target
  }
  tags = { team = "red" }
}

resource "aws_route53_resolver_rule" "ours" {
  domain_name = "aws.corp.example"
  rule_type   = "SYSTEM"
}

resource "aws_route53_resolver_rule_association" "corp" {
  resolver_rule_id = aws_route53_resolver_rule.corp.id
  vpc_id           = aws_vpc.main.id
}

resource "aws_route53_resolver_rule_association" "ours" {
  resolver_rule_id = aws_route53_resolver_rule.ours.id
  vpc_id           = aws_vpc.main.id
}
