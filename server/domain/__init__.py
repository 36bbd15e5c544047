"""The domain: types and rules that do not depend on protocols or storage."""
