namespace KTrace.Tui.App;

/// <summary>A bug of the screen: an update or a view threw. The terminal has been given back when it is thrown.</summary>
/// <param name="doing">What was being done.</param>
/// <param name="cause">What was thrown.</param>
public sealed class TuiFailure(string doing, Exception cause) : Exception($"{doing}: {cause.GetType().Name}: {cause.Message}{Place(cause)}", cause)
{
    private static string Place(Exception cause) =>
        cause.TargetSite is { } method ? $" (in {method.DeclaringType?.FullName}.{method.Name})" : "";
}
