namespace KTrace.Tracing;

/// <summary>Decodes lines about recording without stops. The cursor stands at the line's start.</summary>
internal static class NonStopParts
{
    public static TraceRecord.ClockRate ClockRate(ref RecordJson json)
    {
        double? rate = null;
        double uptime = 0;
        while (json.NextProperty())
        {
            if (json.Is("ticks_per_second"u8))
            {
                rate = json.Seconds("ticks_per_second");
            }
            else if (json.Is("uptime"u8))
            {
                uptime = json.Number("uptime");
            }
            else
            {
                json.Skip();
            }
        }

        return new TraceRecord.ClockRate(rate is > 0 ? rate.Value : throw json.Fail("a clock's rate without ticks_per_second"), uptime);
    }

    public static TraceRecord.NonStop NonStop(ref RecordJson json)
    {
        long hits = 0, dropped = 0, waits = 0, missed = 0, broken = 0, cut = 0, pauses = 0, ring = 0;
        double paused = 0;
        double? guest = null, baseline = null;
        while (json.NextProperty())
        {
            if (json.Is("hits"u8))
            {
                hits = json.Int64("hits");
            }
            else if (json.Is("dropped"u8))
            {
                dropped = json.Int64("dropped");
            }
            else if (json.Is("waits"u8))
            {
                waits = json.Int64("waits");
            }
            else if (json.Is("returns_missed"u8))
            {
                missed = json.Int64("returns_missed");
            }
            else if (json.Is("broken"u8))
            {
                broken = json.Int64("broken");
            }
            else if (json.Is("cut"u8))
            {
                cut = json.Int64("cut");
            }
            else if (json.Is("pauses"u8))
            {
                pauses = json.Int64("pauses");
            }
            else if (json.Is("ring_size"u8))
            {
                ring = json.Int64("ring_size");
            }
            else if (json.Is("paused_seconds"u8))
            {
                paused = json.Seconds("paused_seconds");
            }
            else if (json.Is("guest_seconds"u8))
            {
                guest = json.Seconds("guest_seconds");
            }
            else if (json.Is("baseline_guest_seconds"u8))
            {
                baseline = json.Seconds("baseline_guest_seconds");
            }
            else
            {
                json.Skip();
            }
        }

        return new TraceRecord.NonStop
        {
            Hits = hits, Dropped = dropped, Waits = waits, ReturnsMissed = missed, Broken = broken, Cut = cut, Pauses = pauses, PausedSeconds = paused, RingSize = ring,
            GuestSeconds = guest, BaselineGuestSeconds = baseline,
        };
    }
}
