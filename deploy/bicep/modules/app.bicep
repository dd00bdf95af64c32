// The environment and the app. The ingress ends TLS; "external" here means: from the whole network, which is all that an
// internal environment can be reached from.

param name string
param location string
param subnetId string
param image string
param registryServer string
param identityId string
param clientId string
param storeUrl string
param vaultUrl string
param settings string
param publicUrl string
param minReplicas int
param maxReplicas int
param zoneRedundant bool
param workspaceId string

resource apps 'Microsoft.App/managedEnvironments@2025-07-01' = {
  name: name
  location: location
  properties: {
    zoneRedundant: zoneRedundant
    vnetConfiguration: {
      internal: true
      infrastructureSubnetId: subnetId
    }
    workloadProfiles: [
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
    ]
    appLogsConfiguration: {
      destination: 'azure-monitor'
    }
  }
}

resource appLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: apps
  name: 'logs'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

var url = empty(publicUrl) ? 'https://${name}.${apps.properties.defaultDomain}' : publicUrl

resource app 'Microsoft.App/containerApps@2025-07-01' = {
  name: name
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    environmentId: apps.id
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      ingress: {
        external: true
        allowInsecure: false
        targetPort: 8080
        transport: 'auto'
      }
      registries: [
        {
          server: registryServer
          identity: identityId
        }
      ]
      // Not secret (secrets stay in the key vault), but this is how a file gets into a container app.
      secrets: [
        {
          name: 'settings'
          value: settings
        }
      ]
    }
    template: {
      // After SIGTERM: 5 s for the ingress to notice, 20 s for downloads to end.
      terminationGracePeriodSeconds: 40
      containers: [
        {
          name: 'wheelgate'
          image: image
          resources: {
            cpu: json('1.0')
            memory: '2Gi'
          }
          env: [
            {
              name: 'WHEELGATE_CONFIG'
              value: '/etc/wheelgate/wheelgate.toml'
            }
            {
              name: 'WHEELGATE_STORE__URL'
              value: storeUrl
            }
            {
              name: 'WHEELGATE_SERVER__PUBLIC_URL'
              value: url
            }
            {
              name: 'WHEELGATE_SERVER__KEY_VAULT'
              value: vaultUrl
            }
            {
              name: 'AZURE_CLIENT_ID'
              value: clientId
            }
            // A secret that changes makes no new revision; a variable that changes does.
            {
              name: 'SETTINGS_VERSION'
              value: uniqueString(settings)
            }
          ]
          volumeMounts: [
            {
              volumeName: 'settings'
              mountPath: '/etc/wheelgate'
            }
            {
              volumeName: 'spool'
              mountPath: '/data'
            }
          ]
          probes: [
            {
              type: 'Startup'
              httpGet: {
                path: '/livez'
                port: 8080
              }
              periodSeconds: 5
              failureThreshold: 10
            }
            {
              type: 'Liveness'
              httpGet: {
                path: '/livez'
                port: 8080
              }
              periodSeconds: 10
              timeoutSeconds: 3
              failureThreshold: 3
            }
            {
              type: 'Readiness'
              httpGet: {
                path: '/readyz'
                port: 8080
              }
              periodSeconds: 5
              timeoutSeconds: 8
              failureThreshold: 2
            }
          ]
        }
      ]
      scale: {
        minReplicas: minReplicas
        maxReplicas: maxReplicas
        rules: [
          {
            name: 'requests'
            http: {
              metadata: {
                concurrentRequests: '100'
              }
            }
          }
        ]
      }
      volumes: [
        {
          name: 'settings'
          storageType: 'Secret'
          secrets: [
            {
              secretRef: 'settings'
              path: 'wheelgate.toml'
            }
          ]
        }
        {
          name: 'spool'
          storageType: 'EmptyDir'
        }
      ]
    }
  }
}

output url string = url
output domain string = apps.properties.defaultDomain
output address string = apps.properties.staticIp
