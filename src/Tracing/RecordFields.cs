using System.Collections.Immutable;
using System.Text.Json;

namespace KTrace.Tracing;

/// <summary>The parts that several kinds of records have, as docs/trace-format.md writes them.</summary>
internal static class RecordFields
{
    public static void Fields(this Utf8JsonWriter json, TraceTracepoint tracepoint)
    {
        json.WriteNumber("id"u8, tracepoint.Id);
        json.WriteString("requested"u8, tracepoint.Requested);
        json.Optional("symbol"u8, tracepoint.Symbol);
        json.WriteString("state"u8, tracepoint.State);
        json.Hex("address"u8, tracepoint.Address);
        json.Optional("note"u8, tracepoint.Note);
        json.Optional("way"u8, tracepoint.Way);
        json.Optional("why"u8, tracepoint.WayReason);
        json.Optional("functions"u8, (ulong?)tracepoint.Functions);
    }

    public static void Fields(this Utf8JsonWriter json, TraceTask task)
    {
        json.WriteNumber("pid"u8, task.Pid);
        json.WriteString("comm"u8, task.Comm);
        if (task.ThreadGroup != task.Pid)
        {
            json.WriteNumber("tgid"u8, task.ThreadGroup);
        }

        if (task.IsKernelThread)
        {
            json.WriteBoolean("kernel"u8, true);
        }
    }

    public static void Fields(this Utf8JsonWriter json, TraceClock? clock)
    {
        if (clock is null)
        {
            return;
        }

        json.WriteStartObject("clock"u8);
        json.Optional("jiffies"u8, clock.Jiffies);
        json.Optional("ns"u8, clock.Nanoseconds);
        json.Optional("instructions"u8, clock.Instructions);
        json.Optional("ticks"u8, clock.Ticks);
        json.WriteEndObject();
    }

    /// <summary>Where the header says that hits have contexts, one that is plain is left out, and one that is not known says so.</summary>
    public static void Fields(this Utf8JsonWriter json, TraceContext? context, bool hasContexts)
    {
        if (hasContexts ? context == TraceContext.Plain : context is null)
        {
            return;
        }

        json.WriteStartObject("context"u8);
        if (context is null)
        {
            json.WriteString("in"u8, HitParts.UnknownContext);
        }
        else
        {
            if (context.Preempt.Context != CodeContext.Task)
            {
                json.WriteString("in"u8, TraceContext.WordOf(context.Preempt.Context));
            }

            if (context.IrqsOff)
            {
                json.WriteBoolean("irqs_off"u8, true);
            }

            if (context.Preempt.Counts != 0)
            {
                json.Hex("preempt_count"u8, context.Preempt.Counts);
            }

            if (context.Preempt.NeedsReschedule)
            {
                json.WriteBoolean("need_resched"u8, true);
            }
        }

        json.WriteEndObject();
    }

    public static void Fields(this Utf8JsonWriter json, TraceEnd end)
    {
        json.WriteStartObject("end"u8);
        json.WriteString("reason"u8, end.Reason);
        json.Hex("pc"u8, end.Pc);
        json.Hex("sp"u8, end.Sp);
        json.Hex("address"u8, end.Address);
        if (end.Syscall is { } syscall)
        {
            json.WriteStartObject("syscall"u8);
            json.Optional("name"u8, syscall.Name);
            json.WriteNumber("number"u8, syscall.Number);
            json.WriteStartArray("args"u8);
            json.HexValues(syscall.Arguments);
            json.WriteEndArray();
            if (!syscall.ArgumentTexts.IsDefaultOrEmpty)
            {
                json.WriteStartArray("texts"u8);
                foreach (string? text in syscall.ArgumentTexts)
                {
                    json.WriteStringValue(text);
                }

                json.WriteEndArray();
            }

            json.WriteEndObject();
        }

        json.Optional("detail"u8, end.Detail);
        json.WriteEndObject();
    }

    public static void Prints(this Utf8JsonWriter json, ImmutableArray<TracePrint> prints)
    {
        if (prints.IsDefaultOrEmpty)
        {
            return;
        }

        json.WriteStartArray("prints"u8);
        foreach (TracePrint print in prints)
        {
            json.WriteStartObject();
            json.WriteString("expression"u8, print.Expression);
            json.Optional("type"u8, print.Type);
            json.Hex("value"u8, print.Value);
            json.Optional("text"u8, print.Text);
            json.Optional("error"u8, print.Error);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
