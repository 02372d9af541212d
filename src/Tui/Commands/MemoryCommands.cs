using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using KTrace.Debugger;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tui.Views;

namespace KTrace.Tui.Commands;

/// <summary><c>x</c>, <c>disassemble</c>, <c>set</c>: bytes as they are in the machine now.</summary>
internal sealed class MemoryCommands(CommandContext context)
{
    private const int MaximumInstruction = 15;
    private const int AroundBytes = 64;
    private const int MaximumCode = 1 << 20;

    // gdb's "print elements" is 200; a longer string goes on in the next line.
    private const int StringPiece = 256;

    private ulong? _next;

    public ValueTask ExecuteAsync(DebuggerCommand command, CancellationToken cancellationToken) => command switch
    {
        DebuggerCommand.Examine examine => ExamineAsync(examine, cancellationToken),
        DebuggerCommand.Disassemble { Place: var place } => DisassembleAsync(place, cancellationToken),
        DebuggerCommand.Set set => SetAsync(set, cancellationToken),
        _ => default,
    };

    private async ValueTask ExamineAsync(DebuggerCommand.Examine command, CancellationToken cancellationToken)
    {
        var address = command.Address.Length > 0 ? await AddressAsync(command.Address, cancellationToken)
            : _next ?? throw new TargetException("nothing was examined yet, so there is nothing behind it", "for example: x/8gx $rsp");
        switch (command.Format)
        {
            case 'i':
                _next = await ShowCodeAsync(address, command.Count * MaximumInstruction, command.Count, cancellationToken);
                return;
            case 's':
                await ShowStringsAsync(address, command.Count, cancellationToken);
                return;
        }

        var size = command.Size != 0 ? command.Size : command.Format == 'c' ? 1 : command.Format == 'a' ? context.Session.Machine.Architecture.WordSize : 4;
        var bytes = new byte[command.Count * size];
        var read = await context.Session.Machine.Memory.ReadAsync(address, bytes, cancellationToken);
        var lines = new List<TextLine>();
        var perLine = command.Format == 'a' ? 1 : Math.Max(1, 16 / size);
        for (var i = 0; i < command.Count && (i + 1) * size <= read.ReadableFromStart; i++)
        {
            if (i % perLine == 0)
            {
                lines.Add(new TextLine().Add($"0x{address + (ulong)(i * size):x}:", TextRole.Number));
            }

            var value = Little(bytes.AsSpan(i * size, size));
            lines[^1].Add("  ").Add(NumberText.Of(value, size, command.Format == 'a' ? 'x' : command.Format), TextRole.Value);
            if (command.Format == 'a' && context.Session.Map?.NameOf(value) is { } name)
            {
                lines[^1].Add($" <{name}>", TextRole.Function);
            }
        }

        _next = address + (ulong)bytes.Length;
        if (!read.IsComplete)
        {
            lines.Add(new TextLine().Add(Unreadable(read.Unreadable[0].Address), TextRole.Warning));
        }

        context.Output.Write(new LinesView(lines));
    }

    /// <summary>One string behind the other; what is longer than a piece goes on in the next line, and counts there.</summary>
    private async ValueTask ShowStringsAsync(ulong address, int count, CancellationToken cancellationToken)
    {
        var piece = new byte[StringPiece];
        for (var shown = 0; shown < count; shown++)
        {
            var read = await context.Session.Machine.Memory.ReadAsync(address, piece, cancellationToken);
            if (read.ReadableFromStart == 0)
            {
                context.Say(Unreadable(address), TextRole.Warning);
                break;
            }

            var end = piece.AsSpan(0, read.ReadableFromStart).IndexOf((byte)0);
            var length = end < 0 ? read.ReadableFromStart : end;
            context.Output.Write(new LinesView([new TextLine().Add($"0x{address:x}:", TextRole.Number).Add("  ")
                .Add($"\"{Encoding.UTF8.GetString(piece, 0, length)}\"{(end < 0 ? "…" : "")}", TextRole.Value)]));
            address += (ulong)(end < 0 ? length : length + 1);
        }

        _next = address;
    }

    private async ValueTask DisassembleAsync(string? place, CancellationToken cancellationToken)
    {
        var pc = place is null ? await PcAsync(cancellationToken) : await AddressAsync(place, cancellationToken);
        var image = context.Session.Image;
        if (context.Session.Map is { } map && map.FunctionRange(pc) is { } range)
        {
            await ShowCodeAsync(range.Start, (int)Math.Min(range.End - range.Start, MaximumCode), int.MaxValue, cancellationToken);
        }
        else
        {
            await ShowCodeAsync(pc, AroundBytes, int.MaxValue, cancellationToken);
        }
    }

    /// <returns>The address behind the last instruction.</returns>
    private async ValueTask<ulong> ShowCodeAsync(ulong address, int length, int count, CancellationToken cancellationToken)
    {
        var session = context.Session;
        var code = new byte[length];
        var read = await session.Machine.Memory.ReadAsync(address, code, cancellationToken);
        var pc = await PcAsync(cancellationToken);
        var lines = new List<TextLine>();
        string? lastSource = null;
        var next = address;
        foreach (var instruction in Disassembler.Disassemble(session.Machine.Architecture, code.AsSpan(0, read.ReadableFromStart), address).Take(count))
        {
            next = instruction.Address + (ulong)instruction.Bytes.Length;
            var frame = session.Map?.Symbolize(instruction.Address) is [var named, ..] ? named : null;
            var source = frame?.Source is { } at ? string.Create(CultureInfo.InvariantCulture, $"{at.File}:{at.Line}") : null;
            if (source is not null && source != lastSource)
            {
                lines.Add(new TextLine().Add(source, TextRole.Source));
                lastSource = source;
            }

            var target = instruction.Target is { } to && session.Map?.NameOf(to) is { } name ? $" <{name}>" : "";
            lines.Add(new TextLine().Add(instruction.Address == pc ? "=> " : "   ").Add($"{instruction.Address:x}", TextRole.Number)
                .PadTo(21).Add(session.Map?.NameOf(instruction.Address) is { } here ? $"<{here[(here.IndexOf('+', StringComparison.Ordinal) is var plus and >= 0 ? plus : here.Length)..]}>" : "")
                .PadTo(30).Add(instruction.Text).Add(target, TextRole.Function));
        }

        if (lines.Count == 0)
        {
            lines.Add(new TextLine().Add(Unreadable(address), TextRole.Warning));
        }

        context.Output.Write(new LinesView(lines));
        return next;
    }

    private async ValueTask SetAsync(DebuggerCommand.Set command, CancellationToken cancellationToken)
    {
        var session = context.Session;
        var frame = await context.FrameAsync(cancellationToken);
        var value = await NumberAsync(command.Value, cancellationToken);
        if (command.Target.StartsWith('$'))
        {
            await session.Machine.SetRegisterAsync(session.Cpu, RegisterName(command.Target[1..]), value, cancellationToken);
        }
        else
        {
            var target = await session.EvaluateAsync(command.Target, frame, cancellationToken) switch
            {
                ExpressionOutcome.Value { Result: { Address: not null, BitSize: 0, Type.Size: > 0 and <= 8 } found } => found,
                ExpressionOutcome.Failed failed => throw new TargetException(failed.Message, null),
                _ => throw new TargetException($"{command.Target} is no number in memory that could be set", "set a member, or *(int *)0x…"),
            };
            var bytes = new byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
            await session.Machine.Client.WriteMemoryAsync(target.Address!.Value, bytes.AsMemory(0, (int)target.Type.Size), cancellationToken);
        }

        session.Forget();
        context.Forget();
        context.Say(ArgumentText.Of(await session.PrintAsync(command.Target, frame, cancellationToken)), TextRole.Value);
    }

    private string RegisterName(string name)
    {
        var architecture = context.Session.Machine.Architecture;
        return name switch
        {
            "pc" => architecture.RegisterNames[architecture.ProgramCounter],
            "sp" => architecture.RegisterNames[architecture.StackPointer],
            "fp" => architecture.RegisterNames[architecture.FramePointer],
            _ => name,
        };
    }

    private async ValueTask<ulong> PcAsync(CancellationToken cancellationToken) =>
        (await context.Session.Machine.RegistersAsync(context.Session.Cpu, cancellationToken)).ProgramCounter;

    /// <summary>A plain number needs no kernel; a function's name means where it begins; anything else is an expression.</summary>
    public async ValueTask<ulong> AddressAsync(string text, CancellationToken cancellationToken)
    {
        text = text.TrimStart('*');
        var isHex = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
        if (ulong.TryParse(isHex ? text.AsSpan(2) : text, isHex ? NumberStyles.AllowHexSpecifier : NumberStyles.None, CultureInfo.InvariantCulture, out var number))
        {
            return number;
        }

        if (text == "$pc")
        {
            return await PcAsync(cancellationToken);
        }

        return await context.Session.EvaluateAsync(text, await context.FrameAsync(cancellationToken), cancellationToken) switch
        {
            ExpressionOutcome.Value { Result: { Number: { } value } } => (ulong)value,
            ExpressionOutcome.Value { Result: { Address: { } address } } => address,
            ExpressionOutcome.Failed failed => throw new TargetException(failed.Message, null),
            _ => throw new TargetException($"{text} is no address", "for example: x/8gx $rsp"),
        };
    }

    private async ValueTask<ulong> NumberAsync(string text, CancellationToken cancellationToken) =>
        await context.Session.EvaluateAsync(text, await context.FrameAsync(cancellationToken), cancellationToken) switch
        {
            ExpressionOutcome.Value { Result.Number: { } value } => (ulong)value,
            ExpressionOutcome.Failed failed => throw new TargetException(failed.Message, null),
            _ => throw new TargetException($"{text} is no number", null),
        };

    private static string Unreadable(ulong address) => $"no memory at 0x{address:x}";

    private static ulong Little(ReadOnlySpan<byte> bytes)
    {
        ulong value = 0;
        for (var i = bytes.Length - 1; i >= 0; i--)
        {
            value = (value << 8) | bytes[i];
        }

        return value;
    }
}
