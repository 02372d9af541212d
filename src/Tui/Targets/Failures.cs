using KTrace.Debugger;
using KTrace.Rsp;
using KTrace.Symbols;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tracing;
using KTrace.Tui.Commands;

namespace KTrace.Tui.Targets;

/// <summary>Declared exceptions as what a person reads in place. Anything else is a bug and none of these.</summary>
internal static class Failures
{
    /// <returns>Null for an exception that nobody declares.</returns>
    public static TargetNews.Failed? Of(Exception exception) => exception switch
    {
        TargetException e => new TargetNews.Failed(e.Message, e.Remedy),
        CommandSyntaxException e => new TargetNews.Failed(e.Message, e.Remedy),
        ExpressionSyntaxException e => new TargetNews.Failed(e.Message, null),
        RspException e => new TargetNews.Failed(e.Message, null),
        TraceQueryException e => new TargetNews.Failed(e.Message, null),
        TraceWriteException e => new TargetNews.Failed(e.Message, null),
        MalformedFileException e => new TargetNews.Failed(e.Message, null),
        FileNotFoundException e => new TargetNews.Failed($"{e.FileName}: there is no such file", null),
        DirectoryNotFoundException or UnauthorizedAccessException or IOException => new TargetNews.Failed(exception.Message.TrimEnd('.'), null),
        _ => null,
    };
}
