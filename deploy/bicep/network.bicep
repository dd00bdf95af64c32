// A virtual network for Wheelgate, where there is none yet. Where there is one, make these two subnets in it instead.

@description('Where everything is.')
param location string = resourceGroup().location

@description('Name of the virtual network.')
param name string = 'wheelgate'

@description('Its address range; it must not overlap with networks it is to be peered with.')
param addressPrefix string = '10.60.0.0/22'

@description('For the container apps environment: at least a /27.')
param appsPrefix string = '10.60.0.0/26'

@description('For private endpoints.')
param endpointsPrefix string = '10.60.1.0/27'

@description('For the machines that build environments: a jump box, an Azure ML compute cluster.')
param clientsPrefix string = '10.60.2.0/24'

// Container apps reach upstream indexes, Entra ID and their registry through the environment's own way out; the other subnets
// need none.
resource closed 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: '${name}-endpoints'
  location: location
  properties: {
    securityRules: [
      {
        name: 'https-from-the-network'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '443'
        }
      }
      {
        name: 'nothing-else'
        properties: {
          priority: 4096
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: name
  location: location
  properties: {
    addressSpace: {
      addressPrefixes: [
        addressPrefix
      ]
    }
    subnets: [
      {
        name: 'apps'
        properties: {
          addressPrefix: appsPrefix
          delegations: [
            {
              name: 'container-apps'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: endpointsPrefix
          privateEndpointNetworkPolicies: 'Enabled'
          networkSecurityGroup: {
            id: closed.id
          }
        }
      }
      {
        name: 'clients'
        properties: {
          addressPrefix: clientsPrefix
        }
      }
    ]
  }
}

output appsSubnetId string = '${network.id}/subnets/apps'
output endpointsSubnetId string = '${network.id}/subnets/endpoints'
output clientsSubnetId string = '${network.id}/subnets/clients'
output nextStep string = 'Put appsSubnetId and endpointsSubnetId into main.parameters.json, then deploy main.bicep.'
