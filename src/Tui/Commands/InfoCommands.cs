using System.Globalization;
using KTrace.Debugger;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tracing;
using KTrace.Tracing.Interrupts;
using KTrace.Tui.Views;

namespace KTrace.Tui.Commands;

/// <summary><c>info</c>.</summary>
internal sealed class InfoCommands(CommandContext context, FrameCommands frames, DisplayCommands displays)
{
    public async ValueTask ExecuteAsync(DebuggerCommand.Info command, CancellationToken cancellationToken)
    {
        var session = context.Session;
        switch (command.Topic)
        {
            case "breakpoints":
                context.Output.Write(new BreakpointTableView(session.Breakpoints.All));
                break;
            case "display":
                displays.List();
                break;
            case "registers":
                await RegistersAsync(command.Argument, cancellationToken);
                break;
            case "args":
                var path = await context.CallPathAsync(cancellationToken);
                var arguments = path.ArgumentsOf(context.Frame);
                context.Output.Write(new LinesView([.. arguments.Select(a => new TextLine().Add($"{ArgumentText.Name(a)} = {ArgumentText.Value(a)}", TextRole.Value)
                    .Add(a.IsKnown ? "  " + a.Provenance : "", TextRole.Source)).DefaultIfEmpty(new TextLine().Add("no arguments"))]));
                break;
            case "locals":
                await frames.LocalsAsync(await context.FrameAsync(cancellationToken), 0, cancellationToken);
                break;
            case "frame":
            case "source":
                await frames.ShowFrameAsync(cancellationToken);
                break;
            case "modules":
                Modules();
                break;
            case "symbol":
                await SymbolAsync(command.Argument, cancellationToken);
                break;
            case "phase":
                context.Say(await PhaseText.OfAsync(session, cancellationToken));
                break;
            case "cpus":
                context.Output.Write(new CpuStatesView(await session.CpusAsync(cancellationToken), session.Cpu));
                break;
            default:
                await InterruptsAsync(command.Topic, cancellationToken);
                break;
        }
    }

    private async ValueTask InterruptsAsync(string topic, CancellationToken cancellationToken)
    {
        var session = context.Session;
        var header = new TraceRecord.Header { Tool = "ktrace", Arch = session.Machine.Architecture.Name };
        var taken = new InterruptsQuery("this stop", header, await session.InterruptsAsync(cancellationToken), null) { IsLive = true };
        context.Output.Write(topic switch
        {
            "lapic" => new LocalApicView(taken),
            "ioapic" => new IoApicView(taken),
            "pic" => new PicView(taken),
            _ => new IrqTable(taken),
        });
    }

    private async ValueTask RegistersAsync(string names, CancellationToken cancellationToken)
    {
        var block = await context.Session.Machine.RegisterBlockAsync(context.Session.Cpu, cancellationToken);
        var wanted = names.Split([' ', ',', '$'], StringSplitOptions.RemoveEmptyEntries);
        var lines = new List<TextLine>();
        foreach (var register in block.Layout.Registers.Where(r => wanted.Length == 0 ? r.BitSize <= 64 : wanted.Contains(r.Name)))
        {
            var line = new TextLine().Add(register.Name, TextRole.Number).PadTo(12);
            lines.Add(line.Add(
                !block.IsAvailable(register) ? "<not sent>"
                : block.TryGetValue(register, out var value) ? string.Create(CultureInfo.InvariantCulture, $"0x{value:x}")
                : "0x" + Convert.ToHexStringLower([.. block.BytesOf(register).ToArray().Reverse()]), TextRole.Value));
            if (block.TryGetValue(register, out var address) && register.BitSize >= 32 && context.Session.Map?.NameOf(address) is { } name)
            {
                line.PadTo(34).Add(name, TextRole.Function);
            }
        }

        if (lines.Count == 0)
        {
            throw new TargetException($"this machine has no register {names}", "info registers lists them");
        }

        context.Output.Write(new LinesView(lines));
    }

    private void Modules()
    {
        if (context.Session.Map is not { } map)
        {
            context.Say("the kernel is not up yet");
            return;
        }

        context.Output.Write(new LinesView([.. map.Modules.Select(m => new TextLine().Add(m.Name, TextRole.Module).PadTo(24).Add($"0x{m.TextBase:x}", TextRole.Number)
            .Add(m.InitText.IsEmpty ? "" : "  init not freed yet").Add("  " + (m.File ?? "no file of it is known"), TextRole.Source)).DefaultIfEmpty(new TextLine().Add("no modules"))]));
    }

    private async ValueTask SymbolAsync(string text, CancellationToken cancellationToken)
    {
        var value = await context.Session.EvaluateAsync(text, await context.FrameAsync(cancellationToken), cancellationToken) switch
        {
            ExpressionOutcome.Value { Result: { Number: { } number } } => (ulong)number,
            ExpressionOutcome.Value { Result: { Address: { } address } } => address,
            ExpressionOutcome.Failed failed => throw new TargetException(failed.Message, null),
            _ => throw new TargetException($"{text} is no address", null),
        };
        context.Say(context.Session.Map?.NameOf(value) is { } name ? $"{name} is at 0x{value:x}" : $"no symbol at 0x{value:x}");
    }
}
