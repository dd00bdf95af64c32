// A private endpoint, and the DNS zone by which the network finds it. A network can be linked to one zone of a name only, so
// where it is linked to one already (as with an Azure ML workspace in it), that zone is given.

param name string
param location string
param subnetId string
param networkId string
param targetId string
param group string
param zoneName string
param zoneId string

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = if (empty(zoneId)) {
  name: zoneName
  location: 'global'
}

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = if (empty(zoneId)) {
  parent: zone
  name: name
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: networkId
    }
  }
}

resource endpoint 'Microsoft.Network/privateEndpoints@2024-05-01' = {
  name: name
  location: location
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: name
        properties: {
          privateLinkServiceId: targetId
          groupIds: [
            group
          ]
        }
      }
    ]
  }
}

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: group
        properties: {
          privateDnsZoneId: empty(zoneId) ? zone.id : zoneId
        }
      }
    ]
  }
}
