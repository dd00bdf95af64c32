// Wheelgate inside a virtual network: container apps behind an internal ingress, a storage account and a key vault that only
// private endpoints reach, and one identity without any key. README.md beside this folder goes through it step by step.

targetScope = 'resourceGroup'

@description('Where everything is.')
param location string = resourceGroup().location

@description('Begins the names of all resources.')
@minLength(3)
@maxLength(12)
param name string = 'wheelgate'

@description('Subnet of the environment: at least a /27, delegated to Microsoft.App/environments.')
param appsSubnetId string

@description('Subnet of the private endpoints, in the same network.')
param endpointsSubnetId string

@description('The image, REGISTRY.azurecr.io/wheelgate:VERSION.')
param image string

@description('Name of the container registry that the image is in.')
param registryName string

@description('Resource group of the registry.')
param registryResourceGroup string = resourceGroup().name

@description('How many replicas run at least. Two survive the loss of one.')
@minValue(1)
@maxValue(30)
param minReplicas int = 2

@description('How many replicas run at most.')
@minValue(1)
@maxValue(30)
param maxReplicas int = 6

@description('Whether the environment is spread over availability zones.')
param zoneRedundant bool = true

@description('Redundancy of the store.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
  'Standard_GZRS'
])
param storageSku string = 'Standard_ZRS'

@description('Days after its last use that a cached public file is deleted. Uploads are never deleted.')
@minValue(1)
param cacheDays int = 90

@description('Days that logs are kept.')
@minValue(30)
param logDays int = 30

@description('The URL that people use, where a gateway of your own stands in front; empty: that of the app itself.')
param publicUrl string = ''

@description('An existing private DNS zone for blobs that the network is linked to; empty: one is made and linked.')
param blobZoneId string = ''

@description('An existing private DNS zone for key vaults that the network is linked to; empty: one is made and linked.')
param vaultZoneId string = ''

@description('Containers that the settings name as sources: {subscription, resourceGroup, account, container, writable}.')
param containers array = []

@description('Who may put secrets into the key vault: the object id of a person or group of Entra ID; empty: nobody yet.')
param secretsOfficerId string = ''

var suffix = uniqueString(resourceGroup().id, name)
var storageName = take('${replace(name, '-', '')}${suffix}', 24)
var vaultName = take('${name}-${suffix}', 24)
var networkId = split(appsSubnetId, '/subnets/')[0]

module identity 'modules/identity.bicep' = {
  name: '${name}-identity'
  params: {
    name: name
    location: location
  }
}

module logs 'modules/logs.bicep' = {
  name: '${name}-logs'
  params: {
    name: name
    location: location
    days: logDays
  }
}

module storage 'modules/storage.bicep' = {
  name: '${name}-storage'
  params: {
    name: storageName
    location: location
    sku: storageSku
    cacheDays: cacheDays
  }
}

module vault 'modules/vault.bicep' = {
  name: '${name}-vault'
  params: {
    name: vaultName
    location: location
    readerId: identity.outputs.principalId
    officerId: secretsOfficerId
    workspaceId: logs.outputs.id
  }
}

module blobEndpoint 'modules/endpoint.bicep' = {
  name: '${name}-blob-endpoint'
  params: {
    name: '${name}-blob'
    location: location
    subnetId: endpointsSubnetId
    networkId: networkId
    targetId: storage.outputs.id
    group: 'blob'
    zoneName: 'privatelink.blob.${environment().suffixes.storage}'
    zoneId: blobZoneId
  }
}

module vaultEndpoint 'modules/endpoint.bicep' = {
  name: '${name}-vault-endpoint'
  params: {
    name: '${name}-vault'
    location: location
    subnetId: endpointsSubnetId
    networkId: networkId
    targetId: vault.outputs.id
    group: 'vault'
    zoneName: 'privatelink.vaultcore.azure.net'
    zoneId: vaultZoneId
  }
}

module storeRoles 'modules/container-roles.bicep' = {
  name: '${name}-store-roles'
  params: {
    account: storage.outputs.name
    container: storage.outputs.container
    principalId: identity.outputs.principalId
    writable: true
  }
}

// One after the other: two containers of one account assign the same role on the account.
@batchSize(1)
module sourceRoles 'modules/container-roles.bicep' = [for (source, index) in containers: {
  name: '${name}-source-roles-${index}'
  scope: resourceGroup(source.subscription, source.resourceGroup)
  params: {
    account: source.account
    container: source.container
    principalId: identity.outputs.principalId
    writable: source.writable
  }
}]

module pull 'modules/registry-pull.bicep' = {
  name: '${name}-pull'
  scope: resourceGroup(registryResourceGroup)
  params: {
    registryName: registryName
    principalId: identity.outputs.principalId
  }
}

module app 'modules/app.bicep' = {
  name: '${name}-app'
  params: {
    name: name
    location: location
    subnetId: appsSubnetId
    image: image
    registryServer: pull.outputs.server
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    storeUrl: storage.outputs.containerUrl
    vaultUrl: vault.outputs.url
    settings: loadTextContent('wheelgate.toml')
    publicUrl: publicUrl
    minReplicas: minReplicas
    maxReplicas: maxReplicas
    zoneRedundant: zoneRedundant
    workspaceId: logs.outputs.id
  }
  // It must be able to read its store and its secrets when it starts, or it will not become ready.
  dependsOn: [
    storeRoles
    sourceRoles
    blobEndpoint
    vaultEndpoint
  ]
}

// A module of its own, since the name of a zone must be known when its deployment begins.
module dns 'modules/apps-dns.bicep' = {
  name: '${name}-dns'
  params: {
    domain: app.outputs.domain
    address: app.outputs.address
    networkId: networkId
  }
}

output url string = app.outputs.url
output indexUrl string = '${app.outputs.url}/simple/'
output storeUrl string = storage.outputs.containerUrl
output vaultName string = vault.outputs.name
output identityClientId string = identity.outputs.clientId
output nextStep string = 'From a machine in the network: pip install --index-url ${app.outputs.url}/simple/ requests'
