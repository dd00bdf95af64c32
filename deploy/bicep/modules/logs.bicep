// Where logs of the app and of the key vault go.

param name string
param location string
param days int

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: name
  location: location
  properties: {
    retentionInDays: days
    sku: {
      name: 'PerGB2018'
    }
    features: {
      disableLocalAuth: true
    }
  }
}

output id string = workspace.id
