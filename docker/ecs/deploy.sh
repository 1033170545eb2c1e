#!/bin/sh
# The same as nlb.yaml, by the AWS CLI: deploy.sh ec2|fargate
#
# VPC, SUBNETS (separated by commas), CLUSTER, BALANCER_SECURITY_GROUP and TASK_SECURITY_GROUP say where.
set -eu
here=$(dirname "$0")
kind=${1:?ec2 or fargate}

task=$(aws ecs register-task-definition --cli-input-json "file://$here/$kind.json" \
	--query taskDefinition.taskDefinitionArn --output text)

balancer=$(aws elbv2 create-load-balancer --name unproxy --type network --scheme internal \
	--subnets $(echo "$SUBNETS" | tr , ' ') --security-groups "$BALANCER_SECURITY_GROUP" \
	--query 'LoadBalancers[0].LoadBalancerArn' --output text)

# A TCP health check would pass as soon as unproxy accepts, whatever PostgreSQL does.
targets=$(aws elbv2 create-target-group --name unproxy --vpc-id "$VPC" --target-type ip --protocol TCP --port 6432 \
	--health-check-protocol HTTP --health-check-port 9464 --health-check-path /readyz \
	--health-check-interval-seconds 10 --matcher HttpCode=200 \
	--query 'TargetGroups[0].TargetGroupArn' --output text)

# With client IP preservation, the tasks' peers would be the clients themselves, whom trusted_proxies refuses.
aws elbv2 modify-target-group-attributes --target-group-arn "$targets" --attributes \
	Key=proxy_protocol_v2.enabled,Value=true \
	Key=preserve_client_ip.enabled,Value=false \
	Key=deregistration_delay.timeout_seconds,Value=60

aws elbv2 create-listener --load-balancer-arn "$balancer" --protocol TCP --port 5432 \
	--default-actions "Type=forward,TargetGroupArn=$targets"

aws ecs create-service --cluster "$CLUSTER" --service-name unproxy --task-definition "$task" --desired-count 1 \
	--launch-type "$(echo "$kind" | tr '[:lower:]' '[:upper:]')" --health-check-grace-period-seconds 60 \
	--network-configuration "awsvpcConfiguration={subnets=[$SUBNETS],securityGroups=[$TASK_SECURITY_GROUP]}" \
	--load-balancers "targetGroupArn=$targets,containerName=unproxy,containerPort=6432"
