// What Wheelgate may do in one container: read it, or write it too; and sign URLs of its account, which needs a role on the account.

param account string
param container string
param principalId string
param writable bool

var dataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var dataReader = '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
var delegator = 'db58b8e5-c6ad-4a2a-8342-4190687cbf4a'
var dataRole = writable ? dataContributor : dataReader

resource storage 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: account
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' existing = {
  parent: storage
  name: 'default'
}

resource place 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' existing = {
  parent: blobs
  name: container
}

resource data 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: place
  name: guid(place.id, principalId, dataRole)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataRole)
  }
}

resource signing 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: storage
  name: guid(storage.id, principalId, delegator)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', delegator)
  }
}
