# SPDX-License-Identifier: Apache-2.0
# Private hosted zones of two accounts, with every kind of record that is kept.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

variable "endpoint" {
  type = string
}

variable "address" {
  type    = string
  default = "10.0.1.10"
}

provider "aws" {
  region                      = "us-east-1"
  profile                     = "consumer"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true

  endpoints {
    ec2     = var.endpoint
    elbv2   = var.endpoint
    route53 = var.endpoint
    sts     = var.endpoint
  }
}

provider "aws" {
  alias                       = "other"
  region                      = "us-east-1"
  profile                     = "provider"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true

  endpoints {
    ec2     = var.endpoint
    elbv2   = var.endpoint
    route53 = var.endpoint
    sts     = var.endpoint
  }
}

resource "aws_vpc" "one" {
  cidr_block           = "10.0.0.0/16"
  enable_dns_hostnames = true
}

resource "aws_vpc" "two" {
  cidr_block           = "10.1.0.0/16"
  enable_dns_hostnames = true
}

resource "aws_vpc" "other" {
  provider             = aws.other
  cidr_block           = "10.0.0.0/16"
  enable_dns_hostnames = true
}

resource "aws_subnet" "one" {
  vpc_id            = aws_vpc.one.id
  cidr_block        = "10.0.1.0/24"
  availability_zone = "us-east-1a"
}

resource "aws_lb" "one" {
  name               = "zones"
  internal           = true
  load_balancer_type = "network"
  subnets            = [aws_subnet.one.id]
}

resource "aws_vpc_endpoint" "one" {
  vpc_id            = aws_vpc.one.id
  service_name      = "com.amazonaws.us-east-1.s3"
  vpc_endpoint_type = "Interface"
  subnet_ids        = [aws_subnet.one.id]
}

resource "aws_route53_zone" "corp" {
  name          = "corp.example.com"
  comment       = "names of the company"
  force_destroy = true

  vpc {
    vpc_id = aws_vpc.one.id
  }

  tags = {
    team = "dns"
  }

  lifecycle {
    ignore_changes = [vpc]
  }
}

resource "aws_route53_zone_association" "two" {
  zone_id = aws_route53_zone.corp.zone_id
  vpc_id  = aws_vpc.two.id
}

resource "aws_route53_vpc_association_authorization" "other" {
  zone_id = aws_route53_zone.corp.zone_id
  vpc_id  = aws_vpc.other.id
}

resource "aws_route53_zone_association" "other" {
  provider = aws.other
  zone_id  = aws_route53_vpc_association_authorization.other.zone_id
  vpc_id   = aws_route53_vpc_association_authorization.other.vpc_id
}

resource "aws_route53_record" "address" {
  zone_id = aws_route53_zone.corp.zone_id
  name    = "www"
  type    = "A"
  ttl     = 60
  records = [var.address, "10.0.1.11"]
}

locals {
  records = {
    AAAA  = ["2001:db8::1"]
    CAA   = ["0 issue \"ca.example.net\""]
    CNAME = ["www.corp.example.com"]
    MX    = ["10 mail.example.net", "20 mail2.example.net."]
    NAPTR = ["100 10 \"u\" \"sip+E2U\" \"!^.*$!sip:info@example.net!\" ."]
    PTR   = ["host.example.net"]
    SRV   = ["1 10 5269 xmpp.example.net"]
    TXT   = ["v=spf1 -all", "one and \\\" two"]
    HTTPS = ["1 . alpn=\"h2,h3\""]
  }
}

resource "aws_route53_record" "each" {
  for_each = local.records
  zone_id  = aws_route53_zone.corp.zone_id
  name     = "of-${lower(each.key)}.corp.example.com"
  type     = each.key
  ttl      = 300
  records  = each.value
}

resource "aws_route53_record" "wildcard" {
  zone_id = aws_route53_zone.corp.zone_id
  name    = "*.apps"
  type    = "A"
  ttl     = 30
  records = ["10.0.1.12"]
}

resource "aws_route53_record" "alias" {
  zone_id = aws_route53_zone.corp.zone_id
  name    = "corp.example.com"
  type    = "A"

  alias {
    name                   = aws_route53_record.address.fqdn
    zone_id                = aws_route53_zone.corp.zone_id
    evaluate_target_health = false
  }
}

resource "aws_route53_record" "balancer" {
  zone_id = aws_route53_zone.corp.zone_id
  name    = "lb"
  type    = "A"

  alias {
    name                   = aws_lb.one.dns_name
    zone_id                = aws_lb.one.zone_id
    evaluate_target_health = true
  }
}

resource "aws_route53_record" "endpoint" {
  zone_id = aws_route53_zone.corp.zone_id
  name    = "s3"
  type    = "A"

  alias {
    name                   = replace(aws_vpc_endpoint.one.dns_entry[0].dns_name, "*.", "")
    zone_id                = aws_vpc_endpoint.one.dns_entry[0].hosted_zone_id
    evaluate_target_health = false
  }
}

data "aws_route53_zone" "corp" {
  name         = aws_route53_zone.corp.name
  vpc_id       = aws_vpc.one.id
  private_zone = true
}

output "servers" {
  value = data.aws_route53_zone.corp.name_servers
}

output "zone" {
  value = data.aws_route53_zone.corp.zone_id
}
