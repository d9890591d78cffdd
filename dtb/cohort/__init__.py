"""BIDS trees and derivatives, read into one record a person."""
