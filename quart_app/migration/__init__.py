"""From the older application's database to this one's: what scripts/ calls will live here."""
